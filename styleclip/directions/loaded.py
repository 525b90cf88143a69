"""Δi_c in memory: what a directions store holds, on the device of the models that it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.errors import BundleError


class StoredDirections(Protocol):
    """A finished directions store, as `storage.DirectionStore` is one."""

    @property
    def uri(self) -> str: ...

    @property
    def std(self) -> np.ndarray: ...

    def directions(self) -> np.ndarray: ...

    def magnitude(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class ChannelDirections:
    """Finished directions: directions float32 [C, D] of unit rows, std float32 [C] and magnitude float32 [C, D] (mean
    unnormalised differences) of every convolution channel; `origin` is where they come from, `fingerprint` the sha256
    of all three."""

    origin: str
    directions: Tensor
    std: Tensor
    magnitude: Tensor
    fingerprint: str

    @classmethod
    def of(cls, store: StoredDirections, models: Bundle) -> ChannelDirections:
        """Read a store onto the device of the models. Raises BundleError when it belongs to others."""
        rows, std, magnitude = store.directions(), store.std, store.magnitude()
        expected = (models.generator.layout.conv_count, models.clip.dim)
        if rows.shape != expected:
            raise BundleError(
                f"{store.uri} holds directions of shape {rows.shape}, bundle '{models.name}' needs {expected}: "
                "they belong to another generator or CLIP; make them with `styleclip precompute`"
            )
        digest = hashlib.sha256()
        for each in (rows, std, magnitude):
            digest.update(np.ascontiguousarray(each).tobytes())
        on_device = [torch.from_numpy(each).to(models.device) for each in (rows, std, magnitude)]
        return cls(store.uri, on_device[0], on_device[1], on_device[2], digest.hexdigest())
