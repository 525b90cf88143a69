"""styleclip invert."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Bundle, Device, Json, MaxFailed, ShardSize, check_folder
from flows.cli.talk import Voice, verb


@verb
def invert(
    images: Annotated[str, typer.Argument(help="Folder of PNG, JPEG or WebP images.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Run folder.")],
    bundle: Bundle = "avatars",
    reconstructions: Annotated[
        bool, typer.Option(help="Also write what the generator makes of each code.")
    ] = False,
    shard_size: ShardSize = 32,
    max_failed_fraction: MaxFailed = 0.1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the latent code of every image with the bundle's encoder.

    \b
    Example:
      styleclip invert photos/ --output runs/codes --reconstructions
    """
    from flows.parameters import InvertParams

    voice = Voice(as_json)
    params = InvertParams(
        images=images, output=output, bundle=bundle, save_reconstruction=reconstructions, shard_size=shard_size,
        max_failed_fraction=max_failed_fraction, device=device,
    )  # fmt: skip
    check_folder(images)
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice.say(f"Latent codes of the images in {images} with the encoder of '{bundle}', into {output}")

    def load() -> object:
        from flows.invert import invert as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    voice.say(f"Done: {summary['ok']} images, {summary['failed']} failed.")
    voice.say(f"Codes:   {summary['latents']}")
    voice.say(f"Metrics: {output}/metrics")
    if reconstructions:
        voice.say(f"Next:    look at {output}/images/reconstruction beside your images")
    voice.finish(summary)
