"""Prefect's limit on work that uses the device: where somebody has created it, every such task takes a slot of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.concurrency.sync import concurrency
from prefect.context import TaskRunContext

LIMIT = "gpu"
"""Name of the global concurrency limit. Where there is none, nothing is limited."""


@contextmanager
def device_limit() -> Iterator[None]:
    """Hold a slot of the limit; as a decorator, while the function runs. Outside of a task run it does nothing."""
    if TaskRunContext.get() is None:
        # called as a plain function, by a test or a script: there may be no server to ask
        yield
        return
    with concurrency(LIMIT, occupy=1):
        yield
