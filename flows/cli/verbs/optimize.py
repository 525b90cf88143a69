"""styleclip optimize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.asked import made, options, read
from flows.cli.options import Json, Targets, check_folder
from flows.cli.talk import CallError, Voice, verb
from flows.forms.edits import OptimizeForm, edit_form
from flows.forms.runs import EditParams, FreeParams

if TYPE_CHECKING:
    from flows.free_generation import FreeSummary
    from tasks.edit.summary import EditSummary

LEFT_OUT = ("edits", "edits_file", "directions")


@verb
@options(EditParams, leave_out=LEFT_OUT)
@options(OptimizeForm, leave_out=("method",), unset=True)
def optimize(
    images: Annotated[
        str | None, typer.Argument(help="Folder of PNG, JPEG or WebP images; none with --free.")
    ] = None,
    target: Targets = None,
    free: Annotated[
        list[str] | None, typer.Option(help="Draw these words from the mean latent, without a source image.")
    ] = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Edit every image by optimizing its own latent code: slow, and free of any direction computed before.

    The same as `styleclip edit` with the method optimize; an --edits file there can mix methods. A stopped run goes
    on at its first unfinished shard. Loss curves are in OUTPUT/curves.

    \b
    Example:
      styleclip optimize photos/ -o runs/red -t "a face with red hair" --steps 100 --space s --lr 0.03
    From words alone:
      styleclip optimize --free "a face with red hair" -o runs/free
    """
    edit = read(OptimizeForm, asked)
    if free:
        if images or target:
            raise CallError("--free draws from words alone: leave out the folder of images and --target")
        _free(free, edit, asked, Voice(as_json))
        return
    if not images:
        raise CallError('give a folder of images and --target "…", or --free "…" to draw from words alone')
    if not target:
        raise CallError('say what the images shall show: --target "a face with red hair"')
    if asked["name"] and len(target) > 1:
        raise CallError("--name names one edit, but several --target are given")
    from flows.cli.verbs.edit import report

    voice = Voice(as_json)
    edits = [edit_form(target=words, method="optimize", **edit) for words in target]
    params = made(EditParams, asked, images=images, edits=edits)
    check_folder(images)
    from flows.cli.running import run_flow

    words = ", ".join(f'"{each}"' for each in target)
    voice.say(
        f"Optimize the images in {images} with the models of '{params.bundle}': {words}; results go to "
        f"{params.output}"
    )

    summary: EditSummary = run_flow("flows.edit:edit", params)
    report(voice, summary)
    voice.say(f"Curves:  {summary.run}/curves    python: storage.curves.read_curves('{summary.run}')")
    voice.finish(summary)


def _free(targets: list[str], edit: Mapping[str, Any], asked: Mapping[str, Any], voice: Voice) -> None:
    """Pictures from words alone."""
    if useless := [name for name in edit if name not in FreeParams.model_fields]:
        option = useless[0].replace("_", "-")
        raise CallError(f"--{option} means nothing with --free: there is no source image")
    params = made(FreeParams, asked, targets=targets)
    from flows.cli.running import run_flow

    words = ", ".join(f'"{each}"' for each in targets)
    voice.say(f"Draw {words} from the mean latent of '{params.bundle}'; results go to {params.output}")

    summary: FreeSummary = run_flow("flows.free_generation:free_generation", params)
    for picture in summary.images:
        voice.say(f"Image:   {picture}")
    voice.say(f"Codes:   {summary.latents}")
    voice.finish(summary)
