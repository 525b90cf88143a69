"""What a Dask worker of the tests loads first: reading a picture takes time, and one of them kills the process."""

from __future__ import annotations

import os
import time

import tasks.inputs.decode

_read = tasks.inputs.decode.read_image


def _slow(path: str, version: str | None = None) -> bytes:
    if os.path.basename(path) == os.environ.get("TESTS_POISON"):
        os._exit(17)
    time.sleep(float(os.environ.get("TESTS_SECONDS", "0")))
    return _read(path, version)


tasks.inputs.decode.read_image = _slow
