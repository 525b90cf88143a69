"""Mean and standard deviation of every style channel over sampled latents."""

from __future__ import annotations

import torch
from torch import Tensor

from styleclip.networks.generator import Generator
from styleclip.seeds import sample_z


@torch.no_grad()
def style_statistics(
    generator: Generator,
    n: int,
    seed: int,
    truncation_psi: float = 0.7,
    batch: int = 1024,
) -> tuple[Tensor, Tensor]:
    """(mean, std), float32 [C_total] each, over n samples; std with ddof 0 as in the published code.

    Sums are kept in float64 around the first batch's mean, so that n may be large without loss. Seeds 'statistics/…'
    keep these samples apart from the ones that directions are averaged over.
    """
    assert n >= 2, f"statistics need at least two samples, got {n}"
    device = generator.const.device
    shift = total = squares = None
    for first in range(0, n, batch):
        ids = [f"statistics/{i}" for i in range(first, min(n, first + batch))]
        z = sample_z(seed, ids, generator.z_dim).to(device)
        s = generator.styles(generator.map(z, truncation_psi=truncation_psi)).double()
        if shift is None or total is None or squares is None:
            shift = s.mean(dim=0)
            total, squares = torch.zeros_like(shift), torch.zeros_like(shift)
        centred = s - shift
        total += centred.sum(dim=0)
        squares += centred.square().sum(dim=0)
    assert shift is not None and total is not None and squares is not None
    offset = total / n
    std = (squares / n - offset.square()).clamp(min=0).sqrt()
    return (shift + offset).float(), std.float()
