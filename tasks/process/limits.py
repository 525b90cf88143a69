"""Prefect's limit on work that uses the device: where somebody has created it, every such task takes a slot of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound

LIMIT = "gpu"
"""Name of the global concurrency limit. Where there is none, nothing is limited."""


@contextmanager
def device_limit() -> Iterator[None]:
    """Hold a slot of the limit; as a decorator, while the function runs. Outside of a task run it does nothing."""
    # called as a plain function, by a test or a script, there may be no server to ask
    if TaskRunContext.get() is None or not there_is_one():
        yield
        return
    with concurrency(LIMIT, occupy=1):
        yield


@functools.cache
def there_is_one() -> bool:
    """Whether the limit exists; asked once per process, because to hold a slot costs two seconds even of no limit."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            return False
    return True
