"""People among the avatars: many pictures of one face, and whether a network tells one person from another."""

from __future__ import annotations

import torch
from torch import Tensor

from avatars.world.factors import IDENTITY, INDEX, Z_DIM, factors_of
from avatars.world.latents import sample_latents
from avatars.world.renderer import render
from styleclip.pixels import to_uint8


def sample_people(count: int, pictures: int, seed: int) -> Tensor:
    """Factors u [count · pictures, F]: the identity factors of one person are the same in all their pictures."""
    generator = torch.Generator().manual_seed(seed)
    u = factors_of(sample_latents(count * pictures, generator))
    columns = [INDEX[name] for name in IDENTITY]
    people = torch.randn(count, Z_DIM, generator=generator)[:, : len(columns)]
    u[:, columns] = people.repeat_interleave(pictures, dim=0)
    return u


def render_uint8(u: Tensor) -> Tensor:
    """Factors → pictures, uint8 [N, 3, 64, 64]."""
    return torch.cat([to_uint8(render(part)) for part in u.split(50)])


def pair_auc(embedding: Tensor, label: Tensor) -> float:
    """Probability that a pair of one person is more alike than a pair of two (area under the ROC curve)."""
    similarity = embedding @ embedding.T
    rows, columns = torch.triu_indices(len(label), len(label), offset=1)
    score, same = similarity[rows, columns], label[rows] == label[columns]
    order = torch.argsort(score)
    rank = torch.empty_like(score)
    rank[order] = torch.arange(1, len(score) + 1, dtype=score.dtype)
    positive, negative = int(same.sum()), int((~same).sum())
    return float((rank[same].double().sum() - positive * (positive + 1) / 2) / (positive * negative))
