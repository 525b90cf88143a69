"""styleclip directions show, import, export."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Bundle, Device, Json
from flows.cli.talk import Voice, verb


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


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
    top: Annotated[int, typer.Option(min=1, help="How many channels to show.")] = 15,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show which style channels answer most strongly to words, and which β leaves how many of them.

    \b
    Example:
      styleclip directions show --target "a face with glasses"
    """
    from tasks.exchange.inspect import strongest_channels

    voice = Voice(as_json)
    found = strongest_channels(bundle, device, directions, target, neutral, top)
    voice.say(f'From "{found["neutral"]}" to "{target}", {found["total"]} channels of {found["store"]}')
    voice.table(
        "Strongest channels",
        ["layer", "channel", "projection", "reliability"],
        [
            [r["layer"], str(r["channel"]), f"{r['projection']:+.3f}", _figure(r["reliability"])]
            for r in found["channels"]
        ],
    )
    voice.table("What a β leaves", ["beta", "channels"], [[f"{b:.3f}", str(n)] for b, n in found["betas"]])
    voice.say(f"Auto: {found['why']}")
    voice.say(f'Next: styleclip edit FOLDER --output RUN --target "{target}"')
    voice.finish(found)


@verb
def import_(
    fs3: Annotated[str, typer.Argument(metavar="FS3", help="The published fs3.npy.")],
    mean_std: Annotated[str, typer.Option(help="The published S_mean_std that belongs to it.")],
    output: Annotated[str, typer.Option("--output", "-o", help="The directions store to make.")],
    bundle: Bundle = "avatars",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a directions store of StyleCLIP's published files fs3.npy and S_mean_std.

    The rows are matched to the layers of the bundle's generator: all of them, or the first ones (the published FFHQ
    file ends at 128 px; later channels are then left alone by every edit). Nothing in the files is executed.

    \b
    Example:
      styleclip directions import fs3.npy --mean-std S_mean_std --bundle ffhq -o runs/ffhq.zarr
    """
    from tasks.exchange.directions import import_directions

    voice = Voice(as_json)
    found = import_directions(bundle, device, fs3, mean_std, output)
    voice.say(
        f"Done: directions of {found['covered']} of {found['channels']} channels, "
        f"{found['layers']} layers up to {found['last_layer']}."
    )
    if found["without_direction"]:
        voice.say(
            f"Note:  {found['without_direction']} channels have no direction in the file; no edit moves them."
        )
    voice.say(f"Store: {output}")
    voice.say(f"Next:  styleclip edit FOLDER --bundle {bundle} --directions {output} --target '…' -o RUN")
    voice.finish(found)


@verb
def export(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A finished directions store.")],
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where fs3.npy and S_mean_std go.")],
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="The store's models; default: the bundle it names.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a directions store as the files that StyleCLIP publishes, fs3.npy and S_mean_std.

    \b
    Example:
      styleclip directions export runs/my-faces.zarr published/ --bundle my-faces.toml
    """
    from tasks.exchange.directions import export_directions

    voice = Voice(as_json)
    found = export_directions(bundle, device, store, folder)
    voice.say(f"Done: {found['rows']} directions, statistics of {found['layers']} layers.")
    voice.say(f"Files: {found['fs3']}, {found['mean_std']}")
    voice.finish(found)
