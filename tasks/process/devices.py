"""The devices of this machine, as separate processes share them out."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from styleclip.errors import StyleclipError


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES has to be for a process that uses one GPU, for each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def gpus_for(device: str) -> list[str]:
    """The GPUs that a run on `device` (auto, cpu, cuda, cuda:N) may share out."""
    return [] if device == "cpu" else visible_gpus()


def chosen_gpus(text: str) -> list[str]:
    """ "all", "none", or numbers with commas between → GPUs. Raises StyleclipError for GPUs that are not there."""
    found = visible_gpus()
    if text in ("all", "none"):
        return found if text == "all" else []
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if not wanted or (unknown := [name for name in wanted if name not in found]):
        there = ", ".join(found) or "none"
        raise StyleclipError(
            f"there is no GPU {', '.join(unknown) if wanted else repr(text)} here; there: {there}"
        )
    return wanted


def environments(workers: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Environment variables of each of `workers` processes: one GPU each, in turn, or its share of the cores."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // workers)))}
    return [
        threads | {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)] if gpus else ""}
        for number in range(workers)
    ]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_workers(gpus: Sequence[str]) -> int:
    """One process per GPU; without GPUs one per core."""
    return len(gpus) or cores()
