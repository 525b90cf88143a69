"""Ctrl-C and SIGTERM: the first one ends the command in order and soon, the second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from flows.cli.talk import RUN_FAILED, say_stopped

PATIENCE = 8.0
"""Seconds for the shard in work to end and for Prefect to hear of it. A longer shard is dropped: a batch on the device
cannot be interrupted, and what is not committed is done again anyway."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen() -> None:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in the main thread; another one ends the process at once."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def keep_listening(*_flow_run_state: Any) -> None:
    """Hook of a flow that begins to run: Prefect has just put its own handler of SIGTERM in place of ours."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGTERM, _stop)


class Goodbye:
    """What Prefect does when a process ends: it sends what it still has to send."""

    pointless = False
    """True when nobody takes it: Prefect would try for minutes."""


def skip_goodbyes(end: SystemExit) -> None:
    """Let the process end here and now when Prefect's goodbye is pointless; otherwise return."""
    if Goodbye.pointless:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else RUN_FAILED)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in SIGNALS:
        signal.signal(number, _leave)
    timer = threading.Timer(PATIENCE, _leave)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _leave(*_signal: Any) -> None:
    say_stopped()
    os._exit(RUN_FAILED)
