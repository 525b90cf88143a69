"""What a run is made of, whoever carries it out: units of work that any process can do, without Prefect."""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from storage.errors import Failure, StorageError
from tasks.process.retries import persistently

J = TypeVar("J")
I = TypeVar("I")  # noqa: E741 - an item, as J is a job and R a result
R = TypeVar("R")
T = TypeVar("T")

LOG = logging.getLogger("styleclip.work")
LOG.setLevel(logging.INFO)
"""What units say. The runner carries it to the run in Prefect, from worker processes too."""

WORKER_DIED = Failure(
    "WorkerDied",
    "the process that worked on it died each time, with nothing else at hand: too large for the memory, or a fault in "
    "a library; replace the file and run the same command with --retry-failed",
)

_ONE_AT_A_TIME = threading.Lock()


class WorkerUnfit(StorageError):
    """A worker process has another program, other weights or another output folder than the run."""


@dataclass(frozen=True)
class Sight:
    """What a process sees of a run; workers must see the same as the flow.

    package: version of this program; weights: (role, sha256) of the bundle; output: what identifies the run there.
    """

    package: str
    weights: tuple[tuple[str, str], ...]
    output: str


@dataclass(frozen=True)
class Split(Generic[J, I, R]):
    """How an item that kills its process is taken apart.

    names(job, item): its images; alone(job, item, position): all the work on one of them, but no commit;
    without(job, item, failures by position): the item with its commit, without those images.
    """

    names: Callable[[J, I], Sequence[str]]
    alone: Callable[[J, I, int], object]
    without: Callable[[J, I, Mapping[int, Failure]], R]


@dataclass(frozen=True)
class Unit(Generic[J, I, R]):
    """One kind of work: functions that a worker process can import, of a small job and the item that is to be done.

    work(job, item) ends with the item's commit and returns something small; sight(job) loads the models and looks at
    the output; missing(job) asks the store which items have no commit. label: an item's name, unique in a run.
    """

    name: str
    noun: str
    work: Callable[[J, I], R]
    sight: Callable[[J], Sight]
    missing: Callable[[J], Collection[I]]
    split: Split[J, I, R] | None = None
    label: Callable[[I], str] = str


def here() -> str:
    """What this process is called where several work on a run."""
    return f"{socket.gethostname()}:{os.getpid()}"


def perform(
    sight: Callable[[J], Sight], job: J, expected: Sight, work: Callable[..., T], *arguments: Any
) -> T:
    """Do `work(job, *arguments)` in a worker process, after a look, once, at whether it fits the run.

    One at a time: a worker that was started with several threads has one device all the same. Raises WorkerUnfit.
    """
    with _ONE_AT_A_TIME:
        arrive(sight, job, expected)
        return persistently(lambda: work(job, *arguments), LOG)


@functools.lru_cache(maxsize=4)
def arrive(sight: Callable[[J], Sight], job: J, expected: Sight) -> str:
    """Load the models, once per process and job, and say so; what the process is called. Raises WorkerUnfit."""
    begun = time.monotonic()
    found = sight(job)
    if differences := _differences(expected, found):
        raise WorkerUnfit(
            f"worker {here()} does not fit the run: {'; '.join(differences)}. Start it with the same version of "
            "styleclip-flows, the same files of weights, and the same output folder in reach"
        )
    LOG.info("worker %s: models loaded in %.1f s", here(), time.monotonic() - begun)
    return here()


def _differences(expected: Sight, found: Sight) -> list[str]:
    lines = []
    for field in fields(Sight):
        ours, theirs = getattr(expected, field.name), getattr(found, field.name)
        if ours != theirs and field.name == "weights":
            roles = sorted({role for role, _ in set(ours) ^ set(theirs)})
            lines.append(f"its weights of {', '.join(roles)} have another sha256")
        elif ours != theirs:
            lines.append(f"{field.name} {theirs} instead of {ours}")
    return lines
