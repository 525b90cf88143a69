"""Passes of one fixed size, so that what a network makes of an image does not depend on its company."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleclip.networks.generator import Generator


def pass_size(generator: Generator) -> int:
    """Images in one pass where results must not depend on the batch.

    Kernels of another batch size round differently in the last bit. A few hundred steps of Adam, each as long as the
    learning rate however small the gradient is, blow that up into another picture; at a fixed size they do not.
    Small pictures waste time when they are alone; on a CPU larger ones gain nothing together.
    """
    if generator.const.device.type != "cpu":
        return 8
    return 4 if generator.resolution <= 128 else 1


def filled(rows: Tensor, size: int) -> Tensor:
    """Rows [k, …], k ≤ size → [size, …]: the last one again where some are missing."""
    missing = size - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def in_passes(network: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """network(rows) for rows [n, …], n ≥ 1, `size` at a time → [n, …]."""
    return torch.cat([network(filled(part, size))[: len(part)] for part in rows.split(size)])
