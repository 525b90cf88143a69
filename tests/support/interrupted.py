"""Makes, fills and finishes a store in child processes that are killed with SIGKILL, at one rename after another.

Run as `python interrupted.py KIND FOLDER`, KIND being one of `stores.STORES`. Every file of a store comes into being by
a rename, so these are all the states that a crash can leave. Child n of a store is killed just before its n-th rename;
then another child, which nobody kills, makes the store complete. FOLDER/NNN are the results, one per rename of a whole
run.

The parent touches no store, and so has no threads when it forks.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Callable
from functools import partial

from stores import STORES, Store, work


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


def chain(kind: type[Store], folder: pathlib.Path, first: int) -> None:
    """Kill at every second rename from the first-th on, until a child gets through unharmed."""
    for kill_at in range(first, 1000, 2):
        job = partial(work, kind(str(folder / f"{kill_at:03d}")))
        status = child(job, kill_at)
        if status == 0:
            return
        assert status == -signal.SIGKILL, status
        assert child(job, None) == 0, f"not resumed after a kill at rename {kill_at}"


def main(kind: type[Store], folder: pathlib.Path) -> int:
    """Two chains at once; 0 when both came to their end."""
    if (other := os.fork()) == 0:
        status = 1
        try:
            chain(kind, folder, 2)
            status = 0
        finally:
            os._exit(status)
    chain(kind, folder, 1)
    return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])


if __name__ == "__main__":
    sys.exit(main(STORES[sys.argv[1]], pathlib.Path(sys.argv[2])))
