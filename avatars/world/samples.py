"""Held-out avatar files: pictures that no model was trained on."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from avatars.world.attributes import truth
from avatars.world.factors import factors_of, parameters
from avatars.world.latents import sample_latents
from avatars.world.renderer import draw
from styleclip.pixels import to_bytes

HELD_OUT_SEED = 7_000_000
"""Training seeds stay below 4,000,000 (`avatars.training`): files drawn from here on are new to every model."""


def sample_factors(count: int, seed: int) -> Tensor:
    """Factors u [count, F] of held-out avatars, distributed as the world is (no widened factors)."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED + seed)
    return factors_of(sample_latents(count, generator, wide_share=0.0))


def sample_pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(images [count, 3, 64, 64] in [−1, 1], true quantities [count, K]) of held-out avatars."""
    p = parameters(sample_factors(count, seed))
    return draw(p), truth(p)


def write_images(folder: str | Path, n: int, seed: int = 0) -> list[Path]:
    """Write n held-out avatars as PNG files `avatar-000.png`, … into `folder`; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images, _ = sample_pictures(n, seed)
    pixels = to_bytes(images).numpy()
    paths = [folder / f"avatar-{index:03d}.png" for index in range(n)]
    for path, array in zip(paths, pixels, strict=True):
        Image.fromarray(array).save(path)
    return paths
