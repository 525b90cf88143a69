"""Who carries the tasks out."""

from __future__ import annotations

from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def one_at_a_time() -> TaskRunner[PrefectFuture[Any]]:
    """Tasks one after the other in this process: a shard keeps the device, or all cores, busy by itself."""
    runner: Any = ThreadPoolTaskRunner(max_workers=1)
    return runner
