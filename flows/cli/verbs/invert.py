"""styleclip invert."""

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
    ShardSize,
    check_folder,
)
from flows.cli.talk import Voice, verb


@verb
def invert(
    images: Annotated[str, typer.Argument(help="Folder of PNG, JPEG or WebP images.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Run folder.")],
    bundle: Bundle = "avatars",
    reconstructions: Annotated[
        bool, typer.Option(help="Also write what the generator makes of each code.")
    ] = False,
    refine_steps: RefineSteps = 0,
    precision: Precision = "float32",
    align: AlignHow = "none",
    landmarks: LandmarksTable = None,
    shard_size: ShardSize = 32,
    batch: Annotated[int, typer.Option(help="Images on the device at once.")] = 16,
    max_failed_fraction: MaxFailed = 0.1,
    retry_failed: RetryFailed = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the latent code of every image with the bundle's encoder.

    With --refine-steps each code is then improved on its own image (50 steps are a good start). Photographs that are
    not aligned yet need landmarks of their faces, 5 or 68 points each: --align landmarks; or --align detector, when the
    bundle names a face detector and its file is there.

    \b
    Examples:
      styleclip invert photos/ --output runs/codes --reconstructions
      styleclip invert photos/ --output runs/near --refine-steps 50 --align landmarks
    """
    from flows.forms.runs import InvertParams

    voice = Voice(as_json)
    unchecked: dict[str, Any] = {"align": align, "precision": precision}
    params = InvertParams(
        images=images, output=output, bundle=bundle, save_reconstruction=reconstructions, shard_size=shard_size,
        batch=batch, refine_steps=refine_steps, landmarks=landmarks, **unchecked,
        max_failed_fraction=max_failed_fraction, retry_failed=retry_failed, device=device,
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
    run = summary["run"]
    voice.say(f"Metrics: {run}/metrics")
    if reconstructions:
        voice.say(f"Next:    look at {run}/images/reconstruction beside your images")
    voice.finish(summary)
