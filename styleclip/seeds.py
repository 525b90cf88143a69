"""Random numbers that depend on (run seed, sample id) only: never on batch, shard or worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def generator_for(run_seed: int, sample_id: int | str) -> torch.Generator:
    """A CPU random generator of its own for one sample."""
    digest = hashlib.sha256(f"{run_seed}/{sample_id}".encode()).digest()
    # torch takes 64-bit seeds; one bit less keeps it positive on every platform.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def sample_z(run_seed: int, ids: Iterable[int | str], z_dim: int) -> Tensor:
    """Standard normal z [N, z_dim], float32 on the CPU; row i depends on `run_seed` and the i-th id alone."""
    rows = [torch.randn(z_dim, generator=generator_for(run_seed, sample_id)) for sample_id in ids]
    return torch.stack(rows) if rows else torch.empty(0, z_dim)
