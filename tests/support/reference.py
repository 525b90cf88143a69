"""The reference numbers of tests/vectors as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

VECTORS = Path(__file__).parents[1] / "vectors"


def arrays(name: str) -> dict[str, Tensor]:
    """All arrays of a file."""
    with np.load(VECTORS / name) as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """max |ours − theirs|; the shapes must agree."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return (ours - theirs).abs().max().item()
