"""How much a mapper's step depends on the image (paper §5, Table 2): cosine similarity of manipulation steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PUBLISHED: dict[str, tuple[float, float]] = {
    "Mohawk": (0.82, 0.096),
    "Afro": (0.84, 0.085),
    "Bob-cut": (0.82, 0.095),
    "Curly": (0.84, 0.088),
    "Beyonce": (0.83, 0.081),
    "Taylor Swift": (0.77, 0.107),
    "Surprised": (0.79, 0.0893),
    "Purple hair": (0.73, 0.145),
}
"""Mean and standard deviation as in Table 2 of the paper; for Surprised it prints a deviation of .893, which cannot be
one of cosines around .79, and is read as .0893."""


def step_similarity(steps: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the cosines of all pairs of steps [N, …], N ≥ 2, of one mapper."""
    assert len(steps) >= 2, "pairs need two steps"
    unit = F.normalize(steps.flatten(1), dim=1)
    first, second = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    cosines = (unit @ unit.T)[first, second]
    return float(cosines.mean()), float(cosines.std(unbiased=False))


def cross_similarity(steps: Tensor) -> Tensor:
    """Mean cosine [K, K] of the steps of mappers a and b for the same image; steps [K, N, …]."""
    unit = F.normalize(steps.flatten(2), dim=2)
    return torch.einsum("and,bnd->ab", unit, unit) / steps.shape[1]
