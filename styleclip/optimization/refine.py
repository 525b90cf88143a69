"""Refinement of an encoder's latent codes: many images at once, each with its own optimum.

An encoder is quick and misses details; from where it ends, a few dozen steps of gradient descent bring the
reconstruction closer to the picture (Abdal et al. 2019, arXiv 1904.03189; as the hybrid of Zhu et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.directions.channel import ImageEncoder
from styleclip.losses import clip_loss, identity_loss, mean_squared_distance
from styleclip.networks.generator import Generator
from styleclip.optimization import ramped_learning_rate
from styleclip.passes import filled, pass_size


@dataclass(frozen=True)
class RefineSettings:
    """Weights of the loss, and how far a step goes; all in units that do not depend on the generator.

    learning_rate counts root mean square distances of the start from the mean latent, per coordinate and step.
    """

    steps: int
    learning_rate: float = 0.05
    lambda_clip: float = 0.1
    lambda_id: float = 0.1
    lambda_start: float = 0.01


@dataclass(frozen=True)
class Refined:
    """Codes w [N, num_ws, w_dim] with the smallest loss met, and the loss [N] at the start and of these codes."""

    w: Tensor
    loss_before: Tensor
    loss: Tensor


@torch.enable_grad()
def refine(
    generator: Generator,
    clip: ImageEncoder,
    identity: Callable[[Tensor], Tensor] | None,
    images: Tensor,
    w: Tensor,
    settings: RefineSettings,
    *,
    together: int | None = None,
) -> Refined:
    """min over w of mean (G(w) − x)² + λ_clip·(1 − cos CLIP) + λ_id·L_ID + λ_start·mean ((w − w₀)/σ)².

    images x [N, 3, H, W] in [−1, 1] of the generator's size; w₀ = w [N, num_ws, w_dim], where the encoder ends; σ is
    the root mean square distance of w₀ from the mean latent, per image. Returns for each image the best of all codes
    that were met, the start among them: a refinement is never worse than none.

    The perceptual term is the cosine of the bundle's CLIP image embeddings, and of its identity embeddings where
    there is an identity network: no LPIPS weights belong to a bundle, and these two networks are what edits are
    steered and judged by. CLIP answers for hair, glasses and expression, identity for the person. So after a
    refinement identity_source_reconstruction is no independent measure any more.

    Losses are per sample, Adam works on each number for itself, and the networks see `together` images at a time
    (default: `pass_size`, which says why): a batch gives what its images give alone. Constant noise. Not to be called
    in inference mode.
    """
    assert not torch.is_inference_mode_enabled(), "gradients cannot be had in inference mode"
    assert images.shape == (len(w), 3, generator.resolution, generator.resolution), tuple(images.shape)
    assert w.shape[1:] == (generator.num_ws, generator.w_dim), tuple(w.shape)
    assert settings.steps >= 0, settings.steps
    size = together or pass_size(generator)
    parts = [
        _refine_pass(generator, clip, identity, filled(x, size), filled(start, size), settings)
        for x, start in zip(images.split(size), w.split(size), strict=True)
        if len(x)
    ]
    if not parts:
        return Refined(w.clone(), w.new_zeros(0), w.new_zeros(0))
    kept = (
        torch.cat([getattr(part, name) for part in parts])[: len(w)] for name in ("w", "loss_before", "loss")
    )
    return Refined(*kept)


def _refine_pass(
    generator: Generator,
    clip: ImageEncoder,
    identity: Callable[[Tensor], Tensor] | None,
    images: Tensor,
    start: Tensor,
    settings: RefineSettings,
) -> Refined:
    with torch.no_grad():
        seen = F.normalize(clip.encode_image(images), dim=1)
        known = None if identity is None else identity(images)
        spread = (start - generator.w_avg).square().mean(dim=(1, 2), keepdim=True).sqrt()
    still = torch.zeros_like(start)
    moved = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([moved], lr=settings.learning_rate)

    def loss() -> Tensor:
        picture = generator.synthesize(generator.styles(start + spread * moved))
        total = (picture - images).square().mean(dim=(1, 2, 3))
        total = total + settings.lambda_clip * clip_loss(clip, picture, seen)
        if identity is not None and known is not None:
            total = total + settings.lambda_id * identity_loss(identity, known, picture)
        return total + settings.lambda_start * mean_squared_distance(moved, still)

    first = best = best_moved = None
    for step in range(settings.steps + 1):
        with torch.set_grad_enabled(step < settings.steps):
            now = loss()
        value = now.detach()
        if first is None or best is None or best_moved is None:
            first, best, best_moved = value, value, still
        better = value < best
        best = torch.where(better, value, best)
        best_moved = torch.where(better[:, None, None], moved.detach(), best_moved)
        if step < settings.steps:
            adam.param_groups[0]["lr"] = ramped_learning_rate(
                (step + 1) / (settings.steps + 1), settings.learning_rate
            )
            adam.zero_grad(set_to_none=True)
            now.sum().backward()
            adam.step()
    assert first is not None and best is not None and best_moved is not None
    return Refined(start + spread * best_moved, first, best)
