"""The strength of an edit, found for every picture: the smallest α that brings it to the aim.

All pictures of a batch search side by side, each at an α of its own, in a fixed number of passes. What is returned was
itself drawn and measured; between the passes nothing leaves the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.bundles.load import Bundle
from styleclip.methods.face import Edited, InvertedBatch

PASSES = 6
"""Pictures that are drawn for each one that is kept."""
FLOOR = 0.2
"""Cosine of the identity network below which a face is nobody's any more; sunglasses alone go to 0.4."""
GAIN = 0.01
"""A stronger edit that misses the aim, too, is taken only where it comes so much nearer."""
GROWTH = 2.0


@dataclass(frozen=True)
class Search:
    """What is searched: `aim` of ⟨unit CLIP(image), direction⟩, direction [D]; the first α and the largest."""

    aim: float
    direction: Tensor
    first: float
    largest: float


def readings_fingerprint(readings: Tensor) -> str:
    """sha256 of the readings that aims come from."""
    return hashlib.sha256(readings.cpu().contiguous().numpy().tobytes()).hexdigest()


def seek_strength(
    models: Bundle, batch: InvertedBatch, search: Search, styles_at: Callable[[Tensor], Tensor]
) -> Edited:
    """Edit n images as little as brings each to the aim; `styles_at` makes styles [n, C_total] of α [n, 1].

    An image that is there already stays as it is (α = 0). One that no strength brings there keeps the picture that
    came nearest, `reached` false. Measures: alpha, aim, reached_value [n] float, reached [n] bool.
    """
    seen = batch.seen
    value = F.normalize(seen.clip, dim=1) @ search.direction
    images, styles = seen.images, batch.s
    alpha, reached = torch.zeros_like(value), value >= search.aim
    # the bracket: at `low` the aim is missed, at `high` it is reached, or the face is lost
    low, low_value = torch.zeros_like(value), value
    high, high_value = torch.full_like(value, torch.inf), torch.full_like(value, search.aim)
    at = torch.full_like(value, search.first)
    for _ in range(PASSES):
        moved = styles_at(at[:, None])
        drawn = models.generator.synthesize(moved)
        found = F.normalize(models.clip.encode_image(drawn), dim=1) @ search.direction
        kept = found.isfinite()
        if models.identity is not None and seen.identity is not None:
            kept &= (models.identity(drawn) * seen.identity).sum(dim=1) >= FLOOR
        hit = kept & (found >= search.aim)
        better = torch.where(hit, ~reached | (at < alpha), kept & ~reached & (found > value + GAIN))
        images = torch.where(better[:, None, None, None], drawn, images)
        styles = torch.where(better[:, None], moved, styles)
        alpha, value = torch.where(better, at, alpha), torch.where(better, found, value)
        reached = reached | hit
        # where more is less, the aim can only lie between
        falls = kept & ~hit & (at > low) & (found < low_value)
        ends = hit | ~kept | falls
        middle = 2 * search.aim - low_value
        high_value = torch.where(ends & (at < high), torch.where(hit, found, middle), high_value)
        high = torch.where(ends, torch.minimum(high, at), high)
        rises = ~ends & (at > low)
        low, low_value = torch.where(rises, at, low), torch.where(rises, found, low_value)
        at = _next(search, at, low, low_value, high, high_value)
    measures = {"alpha": alpha, "aim": torch.full_like(value, search.aim), "reached_value": value}
    return Edited(images, styles, measures | {"reached": reached})


def _next(
    search: Search, at: Tensor, low: Tensor, low_value: Tensor, high: Tensor, high_value: Tensor
) -> Tensor:
    """The next α [n]: between the ends of the bracket where it has both, and further out where it has not."""
    closed = high.isfinite()
    end = torch.where(closed, high, at)
    share = (search.aim - low_value) / (high_value - low_value).clamp(min=1e-6)
    between = low + (end - low) * share.clamp(0.25, 0.75)
    further = (at * GROWTH).clamp(max=search.largest)
    return torch.where(closed, between, further)
