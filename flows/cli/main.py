"""`styleclip`: every verb, lazily. `styleclip --help` loads neither torch nor Prefect."""

from __future__ import annotations

import sys

import typer

from flows.cli import stopping
from flows.cli.talk import WRONG_CALL, complain
from flows.cli.verbs import (
    bundle_files,
    bundles,
    demo,
    directions,
    edit,
    evaluate,
    export,
    invert,
    latents,
    mappers,
    optimize,
    precompute,
    report,
    server,
    trace,
    train_mappers,
    verify,
    workers,
)

GUIDE = """Edit whole folders of images by words.

\b
First steps, on the embedded world of drawn faces:
  styleclip demo
  styleclip edit photos/ -o runs/red  -t "a face with red hair"
  styleclip edit photos/ -o runs/grid -t "a smiling face" --alpha 2,4 --channels 10,40

Every run can be stopped at any moment; the same command goes on where it stopped.

Exit status: 0 done, 1 the run failed and can be resumed, 2 the call was wrong."""

app = typer.Typer(
    help=GUIDE,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _group(about: str) -> typer.Typer:
    """Verbs about one thing."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)


app.command("demo")(demo.demo)
app.command("edit")(edit.edit)
app.command("optimize")(optimize.optimize)
app.command("precompute")(precompute.precompute)
app.command("invert")(invert.invert)
app.command("train-mappers")(train_mappers.train_mappers)
app.command("evaluate")(evaluate.evaluate)
app.command("verify")(verify.verify)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("trace")(trace.trace)

server_app = _group("The Prefect server of a site, with all that nights need.")
server_app.command("up")(server.up)
server_app.command("down")(server.down)
server_app.command("status")(server.status)
app.add_typer(server_app, name="server")

directions_app = _group("Look into a directions store; published files in and out.")
directions_app.command("show")(directions.show)
directions_app.command("import")(directions.import_)
directions_app.command("export")(directions.export)
app.add_typer(directions_app, name="directions")

latents_app = _group("Latent codes of other programs in and out.")
latents_app.command("import")(latents.import_)
latents_app.command("export")(latents.export)
app.add_typer(latents_app, name="latents")

mappers_app = _group("Look into trained mappers; out to published files.")
mappers_app.command("analyse")(train_mappers.analyse)
mappers_app.command("export")(mappers.export)
app.add_typer(mappers_app, name="mappers")

workers_app = _group("Workers of this machine for the runs of a Dask scheduler.")
workers_app.command("start")(workers.start)
app.add_typer(workers_app, name="workers")


@workers_app.callback()
def _workers() -> None:
    """So that `start` stays a word of its own, although it is the only one."""


bundle_app = _group("The sets of models that can be used.")
bundle_app.command("list")(bundles.list_)
bundle_app.command("check")(bundles.check)
bundle_app.command("init")(bundle_files.init)
bundle_app.command("export-generator")(bundle_files.export_generator)
app.add_typer(bundle_app, name="bundle")


def run() -> None:
    """Entry point of the `styleclip` command."""
    stopping.listen()
    for word in sys.argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            # Prefect records what a run was asked for, and its records hold text
            complain(
                f"{word.encode(errors='backslashreplace').decode()} is no valid UTF-8: rename the file or folder"
            )
            raise SystemExit(WRONG_CALL) from None
    try:
        app()
    except SystemExit as end:
        stopping.skip_goodbyes(end)
        raise
