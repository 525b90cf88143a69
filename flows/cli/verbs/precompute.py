"""styleclip precompute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.asked import made, options
from flows.cli.options import Json
from flows.cli.talk import CallError, Voice, verb
from flows.forms.runs import PrecomputeParams

if TYPE_CHECKING:
    from flows.precompute import PrecomputeSummary


@verb
@options(PrecomputeParams, leave_out=("first", "last"), names={"images": ("--images", "-n")})
def precompute(
    channels: Annotated[
        str | None,
        typer.Option(help="FIRST:LAST, only these channels (LAST excluded); the others get no direction."),
    ] = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Compute the CLIP direction of every style channel, once per bundle.

    An edit needs these directions; the embedded avatars ship theirs. A stopped run goes on at its first unfinished
    block and ends with the same numbers.

    \b
    Example:
      styleclip precompute --bundle my-faces.toml --output runs/my-faces.zarr
    """
    voice = Voice(as_json)
    first, last = _slice(channels)
    params = made(PrecomputeParams, asked, first=first, last=last)
    output, bundle = params.output, params.bundle
    from flows.cli.running import run_flow

    voice.say(
        f"Directions of every style channel of '{bundle}': {params.images} images per channel, into {output}"
    )

    summary: PrecomputeSummary = run_flow("flows.precompute:precompute", params)
    voice.say(
        f"Done: {summary.channels} channels in {summary.blocks} blocks "
        f"({summary.blocks_done_before} were there before); median reliability {summary.reliability:.2f}."
    )
    if summary.batch < params.batch:
        voice.say(
            f"Memory: it ran out at --batch {params.batch}; the rest was done with --batch {summary.batch}."
        )
    voice.say(f"Store:  {output}")
    voice.say(
        f'Next:   styleclip directions show --bundle {bundle} --directions {output} --target "a smiling face"'
    )
    voice.finish(summary)


def _slice(text: str | None) -> tuple[int, int | None]:
    """ "64:128" → (64, 128), ":128" → (0, 128), "64:" → (64, None). Raises CallError for anything else."""
    if text is None:
        return 0, None
    first, colon, last = text.partition(":")
    if not colon or not all(part.strip().isdigit() or not part.strip() for part in (first, last)):
        raise CallError(f"--channels takes FIRST:LAST, for example 0:256, not '{text}'")
    bounds = int(first or 0), int(last) if last.strip() else None
    if bounds[1] is not None and bounds[1] <= bounds[0]:
        raise CallError(f"--channels {text} leaves no channel")
    return bounds
