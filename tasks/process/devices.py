"""The devices of this machine, as separate processes share them out."""

from __future__ import annotations

import os

import torch


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES has to be for a process that uses one GPU, for each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def environments(workers: int, device: str) -> list[dict[str, str]]:
    """Environment variables of each of `workers` processes: one GPU each, in turn, or its share of the cores."""
    gpus = [] if device == "cpu" else visible_gpus()
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // workers)))}
    return [
        threads | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {})
        for number in range(workers)
    ]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_workers(device: str) -> int:
    """One process per GPU; without GPUs one per core."""
    return len([] if device == "cpu" else visible_gpus()) or cores()
