"""styleclip latents import, export."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Bundle, Device, Json
from flows.cli.talk import Voice, verb


@verb
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="w_plus.npy, latents.pt or the like.")],
    output: Annotated[str, typer.Option("--output", "-o", help="The latents store to make.")],
    ids: Annotated[str | None, typer.Option(help="Text file with one id per line; default: numbers.")] = None,
    bundle: Bundle = "avatars",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a latents store of codes that another program has made, e4e for example.

    \b
    Example:
      styleclip latents import latents.pt --bundle ffhq -o runs/codes.zarr
    """
    from tasks.exchange.latents import import_latents

    voice = Voice(as_json)
    found = import_latents(bundle, device, file, ids, output)
    voice.say(f"Done:  {found['images']} codes [{found['num_ws']}, {found['w_dim']}].")
    if found["in_w"]:
        voice.say("Note:  they are codes in W: one row serves all layers.")
    voice.say(f"Store: {output}    python: storage.LatentStore.open('{output}')")
    voice.finish(found)


@verb
def export(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A latents store, RUN/latents.zarr for example.")
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The .npy or .pt file to write.")],
    as_json: Json = False,
) -> None:
    """Write a latents store as one array, and the ids of its rows beside it.

    \b
    Example:
      styleclip latents export runs/codes/latents.zarr w_plus.npy
    """
    from tasks.exchange.latents import export_latents

    voice = Voice(as_json)
    found = export_latents(store, file)
    left_out = f", {found['without_code']} images without a code left out" if found["without_code"] else ""
    voice.say(f"Done:  {found['images']} codes{left_out}.")
    voice.say(f"Files: {found['latents']}, {found['ids']}")
    voice.finish(found)
