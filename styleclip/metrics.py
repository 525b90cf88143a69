"""What is measured on a source, its reconstruction and its edit; every function works row by row."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def clip_similarity(image: Tensor, text: Tensor) -> Tensor:
    """Cosine of image embeddings [N, D] and text embeddings [N or 1, D] → [N]."""
    return F.cosine_similarity(image, text.expand_as(image), dim=1)


def directional_similarity(before: Tensor, after: Tensor, dt: Tensor) -> Tensor:
    """Cosine of the step between unit image embeddings and Δt [D] → [N] (Gal et al. 2021, arXiv 2108.00946).

    A picture that has not moved at all scores 0.
    """
    step = F.normalize(after, dim=1) - F.normalize(before, dim=1)
    return F.cosine_similarity(step, dt.expand_as(step), dim=1)


def identity_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of identity embeddings [N, E] → [N]; 1 is the same face."""
    return F.cosine_similarity(first, second, dim=1)


def pixel_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference of images [N, 3, H, W] in [−1, 1] after clamping → [N], in units of the range."""
    return ((first.clamp(-1, 1) - second.clamp(-1, 1)) / 2).square().flatten(1).mean(dim=1).sqrt()


def clipped_share(image: Tensor, margin: float = 0.05) -> Tensor:
    """Share of values of an unclamped image [N, 3, H, W] that leave [−1, 1] by more than `margin` → [N]."""
    return (image.abs() > 1 + margin).float().flatten(1).mean(dim=1)
