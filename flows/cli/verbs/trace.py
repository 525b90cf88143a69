"""styleclip trace."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.options import Json
from flows.cli.talk import CallError, Failed, Voice, verb

WORDS = {
    "output": "made by the edit",
    "reconstruction": "the reconstruction",
    "source": "the source as the models saw it",
    "input": "an input, edited by",
}


@verb
def trace(
    file: Annotated[str, typer.Argument(help="A picture; it may have been renamed.")],
    runs: Annotated[list[str], typer.Argument(help="Output folders of runs to look in.")],
    as_json: Json = False,
) -> None:
    """Tell which run made a picture, from what, and by which words.

    Found by its content; ends with 1 when no row of these runs tells of it.

    \b
    Example:
      styleclip trace found-somewhere.png runs/red runs/grid
    """
    from storage.errors import ImageError
    from storage.tracing import trace as look_up

    voice = Voice(as_json)
    try:
        found = look_up(file, runs)
    except ImageError as error:
        raise CallError(f"{file}: {error.reason}") from error
    for origin in found.origins:
        row = origin.row
        voice.say(f"{origin.run}: {WORDS[origin.role]} '{row['edit']}' of image '{row['image_id']}'")
        shown = {name: value for name, value in row.items() if name not in ("edit", "image_id")}
        for name, value in shown.items():
            voice.say(f"  {name:16} {value}")
    if not found.origins:
        says = f"; it says of itself: {found.says}" if found.says else ""
        raise Failed(
            f"no row of {', '.join(runs)} tells of {file} (sha256 {found.sha256}){says}", asdict(found)
        )
    voice.finish(asdict(found))
