"""Worker processes of this machine for a Dask scheduler elsewhere: one per device, started again when one ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

PAUSE = 5.0
"""Seconds before a worker that has ended is started again: a scheduler that is away is not asked all the time."""

ENOUGH = 10.0
"""Seconds that workers have to end in, before they are killed."""


def command(address: str, name: str) -> list[str]:
    """A worker with one thread, because it has one device, and a nanny that replaces a process that dies."""
    return [
        sys.executable, "-m", "dask", "worker", address, "--name", name, "--nthreads", "1", "--memory-limit", "0",
        "--nanny", "--no-dashboard", "--death-timeout", "60",
    ]  # fmt: skip


def supervise(address: str, environments: Sequence[Mapping[str, str]], say: Callable[[str], None]) -> None:
    """Keep one worker per environment running until this process is interrupted; then end them all."""
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        while True:
            for number, environment in enumerate(environments):
                if number in running and (status := running[number].poll()) is None:
                    continue
                name = f"{socket.gethostname()}-{os.getpid()}-{number}"
                if number in running:
                    say(f"worker {name} ended with status {status}; started again in {PAUSE:.0f} s")
                    time.sleep(PAUSE)
                running[number] = subprocess.Popen(
                    command(address, name),
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    # the terminal's Ctrl-C is for this process, which ends its workers itself
                    start_new_session=True,
                )
            time.sleep(1.0)
    finally:
        for process in running.values():
            process.terminate()
        until = time.monotonic() + ENOUGH
        for process in running.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
