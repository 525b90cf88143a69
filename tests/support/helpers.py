"""What several test modules need: ports, waiting, installed commands, a face."""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

T = TypeVar("T")
FIVE_POINTS = np.array([[0.375, 0.475], [0.625, 0.475], [0.5, 0.6], [0.4, 0.725], [0.6, 0.725]])
"""The landmarks of a face whose FFHQ square is the unit square: eyes a quarter apart, a tenth of the way to the mouth
above the middle."""


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(name: str) -> str:
    """Path of a command that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def wait_for(condition: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `condition`; fails the test when there is none in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if answer := condition():
            return answer
        time.sleep(0.2)
    pytest.fail(f"after {seconds:.0f} s still no {what}")


def answers(url: str) -> bool:
    """Whether an HTTP address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
