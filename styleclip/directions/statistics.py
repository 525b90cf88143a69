"""Mean and standard deviation of every style channel over sampled latents."""

from __future__ import annotations

import torch
from torch import Tensor

from styleclip.networks.generator import Generator
from styleclip.seeds import sample_z

STATISTICS_BATCH = 1024
"""Samples per pass of the mapping network; part of the result's last bits, so it is no option."""


class StyleStatistics:
    """Running mean and standard deviation of rows, to which more may be added at any time.

    Sums are kept in float64 around the first batch's mean, so that many samples cost no accuracy. The standard
    deviation has ddof 0, as in the published code.
    """

    def __init__(self) -> None:
        self.count = 0
        self._shift: Tensor | None = None
        self._total: Tensor | None = None
        self._squares: Tensor | None = None

    def update(self, styles: Tensor) -> None:
        """Add styles [N, C]."""
        assert styles.ndim == 2 and len(styles), f"styles must be [N, C], got {tuple(styles.shape)}"
        rows = styles.double()
        if self._shift is None or self._total is None or self._squares is None:
            self._shift = rows.mean(dim=0)
            self._total, self._squares = torch.zeros_like(self._shift), torch.zeros_like(self._shift)
        centred = rows - self._shift
        self._total = self._total + centred.sum(dim=0)
        self._squares = self._squares + centred.square().sum(dim=0)
        self.count += len(rows)

    @property
    def mean(self) -> Tensor:
        """float32 [C]."""
        assert self._shift is not None and self._total is not None, "no samples yet"
        return (self._shift + self._total / self.count).float()

    @property
    def std(self) -> Tensor:
        """float32 [C]."""
        assert self._total is not None and self._squares is not None, "no samples yet"
        offset = self._total / self.count
        return (self._squares / self.count - offset.square()).clamp(min=0).sqrt().float()


@torch.no_grad()
def style_statistics(
    generator: Generator,
    n: int,
    seed: int,
    truncation_psi: float = 0.7,
    batch: int = 1024,
) -> tuple[Tensor, Tensor]:
    """(mean, std), float32 [C_total] each, over n samples (paper §6: σ_c).

    Seeds "statistics/…" keep these samples apart from the ones that directions are averaged over.
    """
    assert n >= 2, f"statistics need at least two samples, got {n}"
    device = generator.const.device
    statistics = StyleStatistics()
    for first in range(0, n, batch):
        ids = [f"statistics/{i}" for i in range(first, min(n, first + batch))]
        z = sample_z(seed, ids, generator.z_dim).to(device)
        statistics.update(generator.styles(generator.map(z, truncation_psi=truncation_psi)))
    return statistics.mean, statistics.std
