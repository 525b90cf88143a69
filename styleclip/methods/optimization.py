"""The method of latent optimization (paper §4): every image finds its own code, in hundreds of steps."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.bundles.load import Bundle
from styleclip.directions import style_direction, style_statistics
from styleclip.edits import OptimizeEdit
from styleclip.errors import BundleError
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.words import Wording, embed_words
from styleclip.optimization import optimize_latents
from styleclip.passes import in_passes, pass_size
from styleclip.pixels import to_bytes
from styleclip.precision import computing_in

DEVIATION_SAMPLES = 2000
NOT_FINITE = "the loss ceased to be a number; a smaller learning_rate may help"


@dataclass(frozen=True)
class OptimizedEdit:
    """min D_CLIP + λ_L2·‖Δ‖² + λ_ID·L_ID for each image.

    channels: int64 indices into s of the only channels that move; None for all of them.
    """

    edit: OptimizeEdit
    wording: Wording
    channels: Tensor | None
    fingerprint: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """Space and weights; `steps` is measured, because images may stop early."""
        weights = {
            name: getattr(self.edit, name) for name in ("space", "learning_rate", "lambda_l2", "lambda_id")
        }
        return weights if self.channels is None else weights | {"channels_used": len(self.channels)}

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """Optimize all images of the batch side by side."""
        settings, keep_every = self.edit.settings, self.edit.keep_every
        size = max(1, pass_size(models.generator) >> batch.halvings)
        stages: dict[int, Tensor] = {}

        def keep(step: int, rows: Tensor, images: Tensor) -> None:
            if step and step % keep_every == 0:
                if step not in stages:
                    # an image that has stopped keeps the picture it stopped with
                    stages[step] = stages[max(stages)].clone() if stages else blank(len(batch), images)
                stages[step][rows] = to_bytes(images)

        with torch.inference_mode(False):
            # tensors that were made in inference mode cannot take part in a backward pass: copies can
            w = batch.w.clone()
            target, identity = self._aims(models, w, size)
            found = optimize_latents(
                models.generator, models.clip, target, w, settings,
                identity=models.identity, source_identity=identity,
                std=channel_deviations(models) if settings.in_sigma else None,
                channels=None if self.channels is None else self.channels.clone(),
                together=size, watch=keep if keep_every else None,
            )  # fmt: skip
        return Edited(
            images=found.images,
            styles=found.styles,
            measures={"steps": found.steps},
            lost={place: NOT_FINITE for place in torch.nonzero(~found.finite)[:, 0].tolist()},
            curves=found.curves,
            stages=stages,
        )

    @torch.no_grad()
    def _aims(self, models: Bundle, w: Tensor, size: int) -> tuple[Tensor, Tensor | None]:
        """What CLIP shall see, [D] or [n, D], and R(G(w_s)) [n, E] where identity counts.

        Made once, and in passes: not even the last bit may depend on the batch.
        """
        target = self.wording.target.clone()
        keep_identity = self.edit.lambda_id > 0 and models.identity is not None
        if not keep_identity and not self.edit.relative:
            return target, None
        images = in_passes(models.generator.synthesize, in_passes(models.generator.styles, w, size), size)
        if self.edit.relative:
            seen = F.normalize(in_passes(models.clip.encode_image, images, size), dim=1)
            target = F.normalize(seen + self.edit.relative * self.wording.direction.clone(), dim=1)
        assert models.identity is not None or not keep_identity
        return target, in_passes(models.identity, images, size) if models.identity and keep_identity else None


@functools.lru_cache(maxsize=2)
def channel_deviations(models: Bundle) -> Tensor:
    """The standard deviation of every style channel [C_total]; the same numbers at every call and in every process."""
    with torch.inference_mode(False), torch.no_grad(), computing_in("float32"):
        return style_statistics(
            models.generator, DEVIATION_SAMPLES, 0, models.truncation_psi, DEVIATION_SAMPLES
        )[1]


def blank(count: int, images: Tensor) -> Tensor:
    """Black pictures uint8 [count, H, W, 3] of the size of images [k, 3, H, W]."""
    return torch.zeros(count, *images.shape[2:], 3, dtype=torch.uint8, device=images.device)


def compile_optimization(setting: Setting, edit: OptimizeEdit) -> OptimizedEdit:
    """Words and weights → an edit.

    Raises BundleError for λ_ID > 0 without identity network and for chosen channels without directions, PromptError
    for impossible words, EditError for words that no channel answers to.
    """
    models = setting.models
    if edit.lambda_id > 0 and models.identity is None:
        raise BundleError(
            f"edit '{edit.name}' weighs identity (lambda_id {edit.lambda_id:g}), but bundle '{models.name}' "
            "names no identity network: add one to its file, or set lambda_id to 0"
        )
    wording, channels, fingerprint = embed_words(models, edit), None, {}
    if edit.channels:
        known = setting.channel_directions
        step = style_direction(known.directions, wording.direction, channels=edit.channels, scaled=False)
        channels = models.generator.layout.conv.to(models.device)[torch.nonzero(step.delta)[:, 0]]
        fingerprint = {"directions": known.fingerprint}
    return OptimizedEdit(edit, wording, channels, fingerprint)
