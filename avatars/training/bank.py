"""A bank of rendered avatars on disk, shared by all recipes so that each picture is drawn once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatars.world.factors import factors_of
from avatars.world.latents import sample_latents, sample_twins
from avatars.world.renderer import render
from styleclip.pixels import to_float, to_uint8

PART = 2000


def _part_path(folder: Path, part: int) -> Path:
    return folder / f"bank-{part:04d}.npz"


def _render_part(folder: Path, part: int, size: int, twins: bool) -> None:
    generator = torch.Generator().manual_seed((2 if twins else 1) * 1_000_003 + part)
    z = sample_twins(PART, generator) if twins else sample_latents(PART, generator)
    images = [to_uint8(render(u, size)).numpy() for u in factors_of(z).split(50)]
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
        return self.z[index].to(device), to_float(self.images[index].to(device))
