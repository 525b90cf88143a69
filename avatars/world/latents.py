"""Latents of avatars, drawn at random: as the world is, widened, or in twins that differ in one factor."""

from __future__ import annotations

import torch
from torch import Tensor

from avatars.world.factors import NAMES, Z_DIM

WIDE_SHARE = 0.4
"""Share of the latents that have a few factors pushed outwards, so that edits do not leave the trained range."""


def sample_latents(n: int, generator: torch.Generator, wide_share: float = WIDE_SHARE) -> Tensor:
    """z [n, Z_DIM]: standard normal; in `wide_share` of them three named factors are scaled by 1.3 … 3."""
    z = torch.randn(n, Z_DIM, generator=generator)
    columns = torch.randint(len(NAMES), (n, 3), generator=generator)
    scale = 1.3 + 1.7 * torch.rand(n, 3, generator=generator)
    wide = torch.rand(n, 1, generator=generator) < wide_share
    return z * torch.ones_like(z).scatter(1, columns, torch.where(wide, scale, torch.ones_like(scale)))


def sample_twins(n: int, generator: torch.Generator) -> Tensor:
    """z [n, Z_DIM], n even: rows 2i and 2i + 1 differ in the sign of one named factor, which is never near 0.

    Both have the same norm, so that normalisation changes nothing else.
    """
    assert n % 2 == 0, n
    z = sample_latents(n // 2, generator)
    rows, column = torch.arange(n // 2), torch.randint(len(NAMES), (n // 2,), generator=generator)
    z[rows, column] = 0.8 + 1.4 * torch.rand(n // 2, generator=generator)
    flipped = z.clone()
    flipped[rows, column] *= -1
    return torch.stack([z, flipped], dim=1).flatten(0, 1)
