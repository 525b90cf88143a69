"""Makes, fills and finishes a store in child processes that are killed with SIGKILL, at one rename after another.

Run as `python interrupted.py FOLDER`. Every file of a store comes into being by a rename, so these are all the states
that a crash can leave. Child n of a store is killed just before its n-th rename; then another child, which nobody
kills, makes the store complete. FOLDER/NNN.zarr are the results, one per rename of a whole run.

The parent touches no store, and so has no threads when it forks.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from storage.directions import DirectionStore

C, D, BLOCK = 20, 6, 16
ATTRS = {"bundle": "tiny", "weights": {"generator": "abc"}, "seed": 1}


def create(uri: str, **attrs: object) -> DirectionStore:
    """An empty store of C channels in two blocks, the second one not full."""
    return DirectionStore.create(
        uri,
        layer_names=["conv1_4", "torgb_4"],
        layer=np.zeros(C),
        channel=np.arange(C),
        dim=D,
        mean=np.arange(C),
        std=np.ones(C),
        attrs=ATTRS | attrs,
        block=BLOCK,
    )


def values(block: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """sum, count, resultant and magnitude of a block, the same at every call."""
    sums = np.random.default_rng(block).normal(size=(rows, D))
    return sums, np.full(rows, 4), np.linalg.norm(sums, axis=1) / 4, 2 * sums


def fill(store: DirectionStore, blocks: list[int]) -> None:
    """Write whole blocks."""
    for block in blocks:
        part = store.block_slices[block]
        store.write_block(block, *values(block, part.stop - part.start))


def work(uri: str) -> None:
    """What precompute does: make the store if need be, write what is missing, finish."""
    store = DirectionStore.open(uri, ATTRS) if DirectionStore.exists(uri) else create(uri)
    fill(store, store.missing_blocks())
    store.finalize()


def child(job: Callable[[], None], kill_at: int | None) -> int:
    """Do the job in another process; its exit status, negative when it was killed."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        renames = 0
        rename = pathlib.Path.replace

        def counted(path: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
            nonlocal renames
            renames += 1
            if renames == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, target)

        pathlib.Path.replace = counted  # type: ignore[method-assign, assignment]
        job()
        status = 0
    finally:
        os._exit(status)


def chain(folder: pathlib.Path, first: int) -> None:
    """Kill at every second rename from the first-th on, until a child gets through unharmed."""
    for kill_at in range(first, 1000, 2):
        uri = str(folder / f"{kill_at:03d}.zarr")
        job = partial(work, uri)
        status = child(job, kill_at)
        if status == 0:
            return
        assert status == -signal.SIGKILL, status
        assert child(job, None) == 0, f"not resumed after a kill at rename {kill_at}"


def main(folder: pathlib.Path) -> int:
    """Two chains at once; 0 when both came to their end."""
    if (other := os.fork()) == 0:
        status = 1
        try:
            chain(folder, 2)
            status = 0
        finally:
            os._exit(status)
    chain(folder, 1)
    return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
