"""styleclip directions show."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Bundle, Device, Json
from flows.cli.talk import Voice, verb


@verb
def show(
    target: Annotated[
        str, typer.Option("--target", "-t", help='What the images shall show, "a smiling face".')
    ],
    neutral: Annotated[
        str | None, typer.Option(help="What they show now; default: the words of the bundle.")
    ] = None,
    bundle: Bundle = "avatars",
    directions: Annotated[
        str | None, typer.Option(help="Directions store; default: the bundle's own.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many channels to show.")] = 15,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show which style channels answer most strongly to words, and which β leaves how many of them.

    \b
    Example:
      styleclip directions show --target "a face with glasses"
    """
    from tasks.inspecting import strongest_channels

    voice = Voice(as_json)
    found = strongest_channels(bundle, device, directions, target, neutral, top)
    voice.say(f'From "{found["neutral"]}" to "{target}", {found["total"]} channels of {found["store"]}')
    voice.table(
        "Strongest channels",
        ["layer", "channel", "projection", "reliability"],
        [
            [r["layer"], str(r["channel"]), f"{r['projection']:+.3f}", f"{r['reliability']:.2f}"]
            for r in found["channels"]
        ],
    )
    voice.table("What a β leaves", ["beta", "channels"], [[f"{b:.3f}", str(n)] for b, n in found["betas"]])
    voice.say(f'Next: styleclip edit FOLDER --output RUN --target "{target}" --channels 20')
    voice.finish(found)
