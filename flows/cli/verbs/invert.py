"""styleclip invert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.cli.asked import made, options
from flows.cli.options import Json, check_folder
from flows.cli.talk import Voice, verb
from flows.forms.runs import InvertParams

if TYPE_CHECKING:
    from flows.invert import InvertSummary


@verb
@options(
    InvertParams,
    arguments=("images",),
    names={"save_reconstruction": ("--reconstructions/--no-reconstructions",)},
)
def invert(as_json: Json = False, **asked: Any) -> None:
    """Find the latent code of every image with the bundle's encoder.

    With --refine-steps each code is then improved on its own image (50 steps are a good start). Photographs that are
    not aligned yet need landmarks of their faces, 5 or 68 points each: --align landmarks; or --align detector, when the
    bundle names a face detector and its file is there.

    \b
    Examples:
      styleclip invert photos/ --output runs/codes --reconstructions
      styleclip invert photos/ --output runs/near --refine-steps 50 --align landmarks
    """
    voice = Voice(as_json)
    params = made(InvertParams, asked)
    check_folder(params.images)
    from flows.cli.running import run_flow

    voice.say(
        f"Latent codes of the images in {params.images} with the encoder of '{params.bundle}', into {params.output}"
    )

    summary: InvertSummary = run_flow("flows.invert:invert", params)
    voice.say(f"Done: {summary.ok} images, {summary.failed} failed.")
    if summary.misfit:
        voice.say(f"{summary.misfit}.")
    voice.say(f"Codes:   {summary.latents}")
    voice.say(f"Metrics: {summary.run}/metrics")
    if params.save_reconstruction:
        voice.say(f"Next:    look at {summary.run}/images/reconstruction beside your images")
    voice.finish(summary)
