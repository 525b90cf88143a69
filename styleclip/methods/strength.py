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

LADDER = (1.0, 2.0, 4.0, 3.0, 1.5)
"""Multiples of the first α that are tried until one reaches the aim, one pass for each. On its way to red hair a
picture may first look less like it, and beyond the aim less like a picture, so that no slope can be trusted before
there is a bracket: 4 is the largest, the others fill the gaps."""
MARGIN = 1.1
"""The last pass goes so much further than the smallest α that was enough, and stays where that is enough, too: CLIP
takes hair for red somewhat before everybody does."""
FLOOR = 0.2
"""Cosine of the identity network below which a face is nobody's any more; sunglasses alone go to 0.4."""
GAIN = 0.01
"""A stronger edit that misses the aim, too, is taken only where it comes so much nearer."""


@dataclass(frozen=True)
class Search:
    """What is searched: `aim` of ⟨unit CLIP(image), direction⟩, direction [D], and the first α, a quarter of the
    largest."""

    aim: float
    direction: Tensor
    first: float


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
    tried, found, hits = [alpha], [value], [reached]
    for step in (*LADDER, None):
        if step is None:
            at = torch.where(reached, MARGIN * alpha, alpha / MARGIN)
        else:
            at = _next(search, torch.stack(tried), torch.stack(found), torch.stack(hits), step)
        moved = styles_at(at[:, None])
        drawn = models.generator.synthesize(moved)
        read = F.normalize(models.clip.encode_image(drawn), dim=1) @ search.direction
        kept = read.isfinite()
        if models.identity is not None and seen.identity is not None:
            kept &= (models.identity(drawn) * seen.identity).sum(dim=1) >= FLOOR
        hit = kept & (read >= search.aim)
        enough = ~reached | ((at > alpha) if step is None else (at < alpha))
        better = torch.where(hit, enough, kept & ~reached & (read > value + GAIN))
        images = torch.where(better[:, None, None, None], drawn, images)
        styles = torch.where(better[:, None], moved, styles)
        alpha, value, reached = (
            torch.where(better, at, alpha),
            torch.where(better, read, value),
            reached | hit,
        )
        tried, found, hits = [*tried, at], [*found, read], [*hits, hit]
    measures = {"alpha": alpha, "aim": torch.full_like(value, search.aim), "reached_value": value}
    return Edited(images, styles, measures | {"reached": reached})


def _next(search: Search, tried: Tensor, found: Tensor, hits: Tensor, step: float) -> Tensor:
    """The next α [n] from those tried, what was found there, and whether it was enough, each [passes, n].

    Between the smallest that was enough and the largest below it that was not, about where the line between the two
    crosses the aim; `step` times the first one where nothing was enough yet.
    """
    high, place = torch.where(hits, tried, torch.inf).min(dim=0)
    low, below = torch.where(~hits & (tried < high), tried, -1.0).max(dim=0)
    high_value, low_value = (found.gather(0, each[None])[0] for each in (place, below))
    share = (search.aim - low_value) / (high_value - low_value).clamp(min=1e-6)
    between = low + (high - low) * share.clamp(0.25, 0.75)
    return torch.where(high.isfinite() & (high > 0), between, search.first * step)
