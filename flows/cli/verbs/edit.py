"""styleclip edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.asked import made, options, read
from flows.cli.options import Json, Targets, check_folder
from flows.cli.talk import CallError, Voice, verb
from flows.forms.edits import GlobalForm, edit_form
from flows.forms.runs import EditParams

if TYPE_CHECKING:
    from tasks.edit.summary import EditSummary


@verb
@options(EditParams, leave_out=("edits",), arguments=("images",))
@options(GlobalForm, leave_out=("target", "method"), unset=True)
def edit(
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Run folder for the plan, the images and the metrics; default: runs/, and the name of the folder of "
            "images. {date} in it stands for today (UTC).",
        ),
    ] = None,
    target: Targets = None,
    method: Annotated[
        str,
        typer.Option(
            help="global, global-weighted, optimize or mapper; a file may mix them and set all of each."
        ),
    ] = "global",
    mapper: Annotated[
        str | None,
        typer.Option(help="With --method mapper: its file, or the name of one that the bundle ships."),
    ] = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Edit every image of a folder by words.

    Images that cannot be read become failed rows, not a failed run. A stopped run goes on at its first unfinished
    shard; over a folder that has changed since, or with more edits, it does what is new. Other models need another
    --output.

    \b
    One edit, as strong as each picture needs it:
      styleclip edit photos/ -t "a face with red hair"
    A grid, one edit per combination:
      styleclip edit photos/ -o runs/grid -t "a smiling face" --alpha 2,4 --beta 0.1,0.2
    Many, from a file:
      styleclip edit photos/ -o runs/many --edits edits.yaml
    where edits.yaml holds:
      edits:
      - {target: a smiling face, alpha: 3}
      - {target: a face with a hat, channels: 10}
      - {target: a face with a beard, method: optimize, steps: 100}
    """
    voice = Voice(as_json)
    targets = target or []
    file = asked["edits_file"]
    if asked["name"] and len(targets) > 1:
        raise CallError(
            "--name names one edit, but several --target are given; an --edits file can name each"
        )
    if not targets and not file and not mapper:
        raise CallError('say what the images shall show: --target "a face with red hair", or --edits FILE')
    # a mapper knows its own target
    words_of: list[str | None] = [*targets] or ([None] if mapper else [])
    strengths = read(GlobalForm, asked) | {"method": method, "mapper": mapper}
    edits = [edit_form(target=words, **strengths) for words in words_of]
    place = default_output(asked["images"]) if output is None else output
    params = made(EditParams, asked, edits=edits, output=place)
    check_folder(params.images)
    if file:
        from flows.forms.files import read_edits

        read_edits(file)
    from flows.cli.running import run_flow

    words = ", ".join(f'"{each or mapper}"' for each in words_of) or f"the edits of {file}"
    voice.say(
        f"Edit the images in {params.images} with the models of '{params.bundle}': {words}; results go to "
        f"{params.output}"
    )

    summary: EditSummary = run_flow("flows.edit:edit", params)
    report(voice, summary)
    voice.finish(summary)


def default_output(images: str) -> str:
    """Where the edits of a folder go when nobody says it: runs/NAME-OF-THE-FOLDER, in the working directory."""
    name = images.rstrip("/").rpartition("/")[2]
    return f"runs/{name if name.strip('.') else Path(images).resolve().name}"


def report(voice: Voice, summary: EditSummary) -> None:
    """What came out of an edit run, where it is, and what to look at."""
    from flows.common.artifacts import cell
    from tasks.edit.summary import titled

    if rows := titled(summary.table):
        voice.table("Edits", list(rows[0]), [[cell(value) for value in row.values()] for row in rows])
    voice.say(
        f"Done: {summary.images} images x {summary.edits} edits; {summary.failed} of {summary.rows} rows failed"
        + (f" ({summary.reasons})" if summary.reasons else "")
        + "."
    )
    for edit_name, size in summary.halved_batches.items():
        voice.say(f"Out of memory: {edit_name} went on with batches of {size}.")
    if summary.unknown_words:
        from flows.edit import words_never_seen

        voice.say(words_never_seen(summary.unknown_words))
    if summary.misfit:
        voice.say(f"{summary.misfit}.")
    output = summary.run
    voice.say(f"Images:  {output}/images/EDIT/ID.png")
    voice.say(f"Metrics: {output}/metrics    python: storage.read_metrics('{output}')")
    voice.say(f"Next:    open {output}/report.html, then try other strengths with another --output")
