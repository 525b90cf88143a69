"""What CLIP reads in the generator's own pictures, and how far a picture of some words gets in it.

The aim of an edit comes from here: pictures that show the target lie further along Δt than those that do not, and among
a few thousand samples there are enough of both to say how far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.directions.channel import ImageEncoder
from styleclip.errors import EditError
from styleclip.networks.generator import Generator
from styleclip.passes import in_passes, pass_size
from styleclip.seeds import sample_z

READINGS = 2000
"""Samples: of a thing that one picture in ten shows there are 200."""
READINGS_SEED = 0
SHORT = 0.03
"""An edited picture may fall short of the median picture of the target by this share of the way to the others: the last
bit of it costs most."""
RARE = 0.95
"""Quantile of all readings that is the aim where they do not fall into groups."""
SEPARATE = 0.8
"""Share of the variance that two halves explain before they count as two groups: a uniform spread gives .75."""
LEAST = 0.02
"""Smallest share of the samples that is a group of its own."""


def reading_z(generator: Generator, rows: range | list[int]) -> Tensor:
    """z [n, z_dim] of the samples with these numbers, on the generator's device."""
    ids = [f"readings/{row}" for row in rows]
    return sample_z(READINGS_SEED, ids, generator.z_dim).to(generator.const.device)


@torch.no_grad()
def sample_readings(
    generator: Generator, clip: ImageEncoder, truncation_psi: float, count: int = READINGS
) -> Tensor:
    """Unit CLIP embeddings of `count` samples, float32 [count, D], as exact as the float16 of stores."""
    # small pictures waste time in small passes
    size = pass_size(generator) * (8 if generator.resolution <= 64 else 1)

    def read(z: Tensor) -> Tensor:
        styles = generator.styles(generator.map(z, truncation_psi=truncation_psi))
        return F.normalize(clip.encode_image(generator.synthesize(styles)), dim=1)

    return in_passes(read, reading_z(generator, range(count)), size).half().float()


@dataclass(frozen=True)
class Aim:
    """`value`: ⟨unit CLIP(image), Δt⟩ that a picture of the target reaches; `shown`: the share of the samples that
    show it as they are; `rows`: numbers of samples that clearly do not, those that are furthest from it last."""

    value: float
    shown: float
    rows: tuple[int, ...]


def aim_of(readings: Tensor, direction: Tensor) -> Aim:
    """The aim for Δt `direction` [D] from `readings` [N, D].

    The readings are split in two where that explains most of their variance (Otsu 1979), and the upper group again
    while it is still two. What stays are the pictures that show the target, and the aim is about their median. Readings
    that never fall into two groups say nothing of the kind: then it is a high quantile of them.
    """
    assert readings.ndim == 2 and direction.shape == readings.shape[1:], (readings.shape, direction.shape)
    ordered, rows = (readings @ direction).double().sort()
    if not bool(ordered.isfinite().all()):
        raise EditError("CLIP's readings of the generator's pictures are not finite: are the weights sound?")
    top, least, groups = ordered, max(2, round(LEAST * len(ordered))), False
    while len(top) >= 2 * least:
        cut, explained = _split(top)
        if len(top) < len(ordered) and (explained < SEPARATE or len(top) - cut < least):
            break
        top, groups = top[cut:], groups or explained >= SEPARATE
    if not groups:
        top = ordered[ordered >= ordered.quantile(RARE)]
    others = ordered[: len(ordered) - len(top)]
    if not len(others):
        raise EditError("CLIP sees no difference between the generator's pictures in these words")
    value = float(top.median() if groups else top[0])
    value -= SHORT * (value - float(others.median()))
    return Aim(value, len(top) / len(ordered), tuple(rows[: len(others)].flip(0).tolist()))


def _split(ordered: Tensor) -> tuple[int, float]:
    """Where ascending values [n] fall into two groups, and the share of their variance that this explains."""
    n = len(ordered)
    below = torch.arange(1, n, device=ordered.device)
    total = ordered.cumsum(0)
    gap = (total[-1] - total[:-1]) / (n - below) - total[:-1] / below
    between = below * (n - below) * gap.square() / n**2
    cut = int(between.argmax())
    variance = float(ordered.var(unbiased=False))
    return cut + 1, float(between[cut]) / variance if variance > 0 else 0.0
