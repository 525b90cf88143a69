"""What a shard keeps of its batches until its rows are written; pictures and tensors are not among it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from storage.errors import Failure


@dataclass(frozen=True)
class EditedPart:
    """What is kept of one edit on some images of a shard, all of it on the host; the pictures are not.

    positions in the shard; measures: name → n numbers; failures: position → why it has no picture; curves: name →
    float32 [steps, n]; batch: how many images may be on the device at once, after what was learnt about its memory.
    """

    positions: list[int]
    measures: dict[str, list[Any]]
    failures: dict[int, Failure]
    curves: dict[str, np.ndarray]
    batch: int


@dataclass
class Batch:
    """What is kept of one batch, all of it on the host: positions in the shard; `shared` measures of the inversion,
    each of n; per edit the parts that its images were done in, and by position why one could not be done."""

    positions: list[int]
    shared: dict[str, list[float]]
    parts: list[list[EditedPart]] = field(default_factory=list)
    failures: list[dict[int, Failure]] = field(default_factory=list)
