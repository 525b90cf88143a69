"""styleclip edit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import (
    AlignHow,
    Bundle,
    Device,
    Json,
    LandmarksTable,
    MaxFailed,
    Precision,
    RefineSteps,
    RetryFailed,
    Seed,
    ShardSize,
    check_folder,
    numbers,
)
from flows.cli.talk import CallError, Voice, verb


@verb
def edit(
    images: Annotated[str, typer.Argument(help="Folder of PNG, JPEG or WebP images, or a latents store.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Run folder: plan, images, metrics.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help='"a face with red hair"; repeat for several edits.'),
    ] = None,
    neutral: Annotated[
        str | None, typer.Option(help='What the images show now; default: the words of the bundle, "a face".')
    ] = None,
    alpha: Annotated[
        list[str] | None,
        typer.Option(
            "--alpha", "-a", help="Strength; several (2,4,6) make a grid. Default 4; 1 for a mapper."
        ),
    ] = None,
    beta: Annotated[
        list[str] | None,
        typer.Option(help="Threshold 0 … 1: higher moves fewer channels; several make a grid."),
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option("--channels", "-c", help="Instead of --beta: how many channels. Default 20."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the edit and its folder; default: from the words.")
    ] = None,
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
    edits: Annotated[
        str | None, typer.Option("--edits", "-e", help="YAML, TOML or JSON file with many edits.")
    ] = None,
    directions: Annotated[
        str | None, typer.Option(help="Store made by precompute; default: the one that the bundle ships.")
    ] = None,
    bundle: Bundle = "avatars",
    save_source: Annotated[bool, typer.Option(help="Also write the sources as the models saw them.")] = False,
    save_reconstruction: Annotated[
        bool, typer.Option(help="Also write the unedited reconstructions.")
    ] = True,
    refine_steps: RefineSteps = 0,
    precision: Precision = "float32",
    align: AlignHow = "none",
    landmarks: LandmarksTable = None,
    shard_size: ShardSize = 32,
    batch: Annotated[int, typer.Option(help="Images on the device at once.")] = 16,
    max_failed_fraction: MaxFailed = 0.1,
    retry_failed: RetryFailed = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Edit every image of a folder by words.

    Images that cannot be read become failed rows, not a failed run. A stopped run goes on at its first unfinished
    shard. The same folder with other edits or models needs another --output.

    \b
    One edit:
      styleclip edit photos/ -o runs/red -t "a face with red hair" --alpha 4 --channels 20
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
    from flows.forms.edits import edit_form
    from flows.forms.runs import EditParams

    voice = Voice(as_json)
    targets = target or []
    if name and len(targets) > 1:
        raise CallError(
            "--name names one edit, but several --target are given; an --edits file can name each"
        )
    if not targets and not edits and not mapper:
        raise CallError('say what the images shall show: --target "a face with red hair", or --edits FILE')
    strengths: dict[str, Any] = {
        "alpha": numbers(alpha, "--alpha"),
        "beta": numbers(beta, "--beta"),
        "channels": numbers(channels, "--channels", int),
    }
    given: dict[str, Any] = {key: value for key, value in strengths.items() if value}
    given |= {"neutral": neutral, "name": name, "method": method, "mapper": mapper}
    # a mapper knows its own target
    words_of: list[str | None] = [*targets] or ([None] if mapper else [])
    specs = [edit_form(target=words, **given) for words in words_of]
    unchecked: dict[str, Any] = {"align": align, "precision": precision}
    params = EditParams(
        images=images, output=output, edits=specs, refine_steps=refine_steps, landmarks=landmarks, **unchecked,
        edits_file=edits, directions=directions, bundle=bundle,
        save_source=save_source, save_reconstruction=save_reconstruction, shard_size=shard_size, batch=batch,
        max_failed_fraction=max_failed_fraction, retry_failed=retry_failed, seed=seed, device=device,
    )  # fmt: skip
    check_folder(images)
    if edits:
        from flows.forms.files import read_edits

        read_edits(edits)
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    words = ", ".join(f'"{each or mapper}"' for each in words_of) or f"the edits of {edits}"
    voice.say(f"Edit the images in {images} with the models of '{bundle}': {words}; results go to {output}")

    def load() -> object:
        from flows.edit import edit as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    report(voice, summary)
    voice.finish(summary)


def report(voice: Voice, summary: dict[str, Any]) -> None:
    """What came out of an edit run, where it is, and what to look at."""
    from flows.common.artifacts import cell

    if rows := summary["table"]:
        voice.table("Edits", list(rows[0]), [[cell(value) for value in row.values()] for row in rows])
    voice.say(
        f"Done: {summary['images']} images x {summary['edits']} edits; "
        f"{summary['failed']} of {summary['rows']} rows failed"
        + (f" ({summary['reasons']})" if summary["reasons"] else "")
        + "."
    )
    for edit_name, size in summary["halved_batches"].items():
        voice.say(f"Out of memory: {edit_name} went on with batches of {size}.")
    if summary["unknown_words"]:
        from flows.edit import words_never_seen

        voice.say(words_never_seen(summary))
    output = summary["run"]
    voice.say(f"Images:  {output}/images/EDIT/ID.png")
    voice.say(f"Metrics: {output}/metrics    python: storage.read_metrics('{output}')")
    voice.say(f"Next:    open {output}/grid.jpg, then try other strengths with another --output")
