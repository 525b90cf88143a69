"""Where the time of a shard goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Stopwatch:
    """Milliseconds per stage, summed; waits for the device, so that work is counted where it was asked for."""

    device: torch.device
    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `stage`."""
        begun = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.ms[stage] = self.ms.get(stage, 0.0) + 1000 * (time.perf_counter() - begun)

    def per(self, count: int, *stages: str) -> dict[str, float]:
        """Metrics columns ms_STAGE: milliseconds divided by `count`, for `stages` or for all."""
        return {f"ms_{stage}": self.ms[stage] / count for stage in stages or self.ms if stage in self.ms}
