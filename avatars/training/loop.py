"""What the recipes share: resumable state on disk, learning rates, running averages, progress lines."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then a half cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Averaged(Generic[M]):
    """Exponential moving average of a module's parameters; buffers are copied."""

    def __init__(self, module: M, decay: float) -> None:
        self.module: M = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards `module`; early in training the average follows faster."""
        decay = min(self.decay, (step + 1) / (step + 20))
        for ours, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            ours.lerp_(theirs, 1 - decay)
        for buffer, current in zip(self.module.buffers(), module.buffers(), strict=True):
            buffer.copy_(current)


class Run(Generic[M]):
    """A training that can be stopped at any step and continued: model, average, optimizer and step in one file."""

    def __init__(
        self,
        path: Path,
        module: M,
        optimizer: torch.optim.Optimizer,
        steps: int,
        ema: float = 0.998,
        save_every: int = 250,
    ) -> None:
        self.path, self.module, self.optimizer, self.steps = path, module, optimizer, steps
        self.average = Averaged(module, ema)
        self.save_every = save_every
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.step = 0
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=next(module.parameters()).device)
            module.load_state_dict(state["module"])
            self.average.module.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
            print(f"{path.name}: continuing at step {self.step} of {steps}", flush=True)

    def save(self) -> None:
        """Write the state to a temporary name, then rename it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save(
            {
                "module": self.module.state_dict(),
                "average": self.average.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
            },
            temporary,
        )
        os.replace(temporary, self.path)

    def minimise(
        self,
        loss: Callable[[int], Tensor],
        rate: Callable[[int], float],
        after_step: Callable[[], None] | None = None,
        report_every: int = 100,
    ) -> Iterator[int]:
        """Take the remaining steps; yields the step number after each report, so that the caller may measure."""
        began, first = time.monotonic(), self.step
        running: Any = 0.0
        while self.step < self.steps:
            for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                group["lr"] = base * rate(self.step)
            value = loss(self.step)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            self.optimizer.step()
            if after_step is not None:
                after_step()
            self.average.update(self.module, self.step)
            running += value.detach()
            self.step += 1
            if self.step % self.save_every == 0 or self.step == self.steps:
                self.save()
            if self.step % report_every == 0 or self.step == self.steps:
                seconds = (time.monotonic() - began) / (self.step - first)
                print(
                    f"{self.path.stem}: step {self.step}/{self.steps}, loss {float(running) / report_every:.4f}, "
                    f"{seconds * 1000:.0f} ms a step, {seconds * (self.steps - self.step) / 60:.1f} min left",
                    flush=True,
                )
                running = 0.0
                yield self.step


def data_index(run_seed: int, step: int, count: int, batch: int) -> Tensor:
    """The rows of step `step`: a function of seed and step only, so that a resumed run sees the same data."""
    generator = torch.Generator().manual_seed(run_seed * 1_000_003 + step)
    return torch.randint(count, (batch,), generator=generator)
