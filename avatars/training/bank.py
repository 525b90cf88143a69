"""A bank of rendered avatars on disk, shared by all recipes so that each picture is drawn once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatars.world.factors import NAMES, Z_DIM, factors_of
from avatars.world.renderer import render

PART = 2000
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


def _part_path(folder: Path, part: int) -> Path:
    return folder / f"bank-{part:04d}.npz"


def _render_part(folder: Path, part: int, size: int, twins: bool) -> None:
    generator = torch.Generator().manual_seed((2 if twins else 1) * 1_000_003 + part)
    z = sample_twins(PART, generator) if twins else sample_latents(PART, generator)
    images = [
        ((render(u, size) + 1) * 127.5).round().to(torch.uint8).numpy() for u in factors_of(z).split(50)
    ]
    temporary = folder / f".bank-{part:04d}.npz"
    with temporary.open("wb") as file:
        np.savez(file, z=z.numpy(), images=np.concatenate(images))
    os.replace(temporary, _part_path(folder, part))


def build_bank(
    folder: Path, count: int, size: int = 64, first: int = 0, stride: int = 1, twins: bool = False
) -> None:
    """Render `count` avatars, or pairs of twins, in parts of PART; parts that are there already are kept.

    Several processes may share the work: process `first` of `stride` renders every stride-th part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(first, -(-count // PART), stride):
        if not _part_path(folder, part).exists():
            _render_part(folder, part, size, twins)
            print(f"bank: part {part + 1} of {-(-count // PART)}", flush=True)


class Bank:
    """The rendered bank in memory: `z` [N, Z_DIM] float32 and `images` [N, 3, size, size] uint8."""

    def __init__(self, folder: Path, count: int) -> None:
        parts = [_part_path(folder, part) for part in range(-(-count // PART))]
        missing = [path for path in parts if not path.exists()]
        if missing:
            raise FileNotFoundError(f"{missing[0]} is missing: run `python -m avatars.training bank` first")
        loaded = [np.load(path) for path in parts]
        self.z = torch.from_numpy(np.concatenate([part["z"] for part in loaded])[:count])
        self.images = torch.from_numpy(np.concatenate([part["images"] for part in loaded])[:count])

    def __len__(self) -> int:
        return len(self.z)

    def batch(self, index: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(z, images in [−1, 1]) of the given rows."""
        return self.z[index].to(device), self.images[index].to(device).float() / 127.5 - 1
