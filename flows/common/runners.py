"""Who carries the units of a run out: this process, or the workers of a Dask cluster. Results are the same."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.common.crew import Crew, Stopped
from flows.common.outcome import USER_ERRORS, RunFailed, some_failed
from flows.common.progress import RunProgress
from flows.common.reporting import one_line, publish
from flows.forms.runners import Runner
from tasks.process.retries import persistently
from tasks.process.units import LOG, Unit

J = TypeVar("J")
I = TypeVar("I")  # noqa: E741 - an item, as J is a job and R a result
R = TypeVar("R")

MOST_TASKS = 500
"""Task runs of a run: more shards share them, because Prefect's server takes some 50 task runs a second."""

SHOWN_FAILURES = 100


def one_at_a_time() -> TaskRunner[PrefectFuture[Any]]:
    """Tasks one after the other in this process: a shard keeps the device, or all cores, busy by itself."""
    runner: Any = ThreadPoolTaskRunner(max_workers=1)
    return runner


@dataclass
class Ledger(Generic[I, R]):
    """What came of each item, by its label."""

    unit: Unit[Any, I, R]
    progress: RunProgress
    done: dict[str, R] = field(default_factory=dict)
    errors: dict[str, BaseException] = field(default_factory=dict)

    def finished(self, item: I, result: R) -> None:
        """Note a result, which the store has committed."""
        label = self.unit.label(item)
        if label not in self.done:
            self.progress.advance(result)
        self.done[label] = result
        self.errors.pop(label, None)

    def failed(self, item: I, error: BaseException, log: Any) -> None:
        """Note an error. A mistake of the user's is raised: the units that wait would only meet it again."""
        if isinstance(error, USER_ERRORS):
            raise error
        label = self.unit.label(item)
        self.errors[label] = error
        log.warning("%s %s failed: %s", self.unit.noun, label, one_line(error))


def carry_out(
    unit: Unit[J, I, R], job: J, items: Sequence[I], runner: Runner, progress: RunProgress, again: str
) -> list[R]:
    """Do the unit's work on all items; their results in the order of the items. `again` says how to go on.

    Everything that can be done is done first. Then RunFailed says how many items failed and why the first did; a table
    artifact names them. A mistake of the user's is raised as it is and at once. When this is interrupted the unit in
    work ends, and no further one begins.
    """
    ledger, stop = Ledger(unit, progress), threading.Event()
    if items:
        begin = _here if runner.kind == "here" else _on_a_cluster
        futures = begin(ledger, job, list(items), runner, stop)
        try:
            for future in futures:
                result = future.result(raise_on_failure=False)
                if isinstance(result, (*USER_ERRORS, RunFailed)):
                    raise result
                if isinstance(result, BaseException) and not ledger.errors:
                    raise RunFailed(f"{one_line(result)}; what is finished is kept. {again}") from result
        except BaseException:
            stop.set()
            raise
    if ledger.errors:
        _name_failures(ledger)
        raise some_failed(list(ledger.errors.values()), len(items), progress.unit, again)
    return [ledger.done[unit.label(item)] for item in items]


class SomeFailed(Exception):
    """Some of a task's items failed: only for the state of the task run; what failed is in the ledger."""


def _here(
    ledger: Ledger[I, R], job: J, items: list[I], _runner: Runner, stop: threading.Event
) -> list[PrefectFuture[Any]]:
    """Tasks of one or more items in this process."""
    unit = ledger.unit

    @task(name=unit.name, task_run_name="{title}", cache_policy=NO_CACHE)
    def some(title: str, first: int, last: int) -> None:
        from flows.common.cluster import heard

        log, failed = get_run_logger(), 0
        with heard(log):
            for item in items[first:last]:
                if stop.is_set():
                    raise Stopped
                try:
                    ledger.finished(item, persistently(functools.partial(unit.work, job, item), LOG))
                except Exception as error:
                    failed += 1
                    ledger.failed(item, error, log)
        if failed:
            raise SomeFailed(f"{failed} of {last - first} failed")

    size = -(-len(items) // MOST_TASKS)
    futures = []
    for first in range(0, len(items), size):
        last = min(first + size, len(items))
        labels = [unit.label(items[each]) for each in (first, last - 1)]
        title = f"{unit.noun} {labels[0]}" if size == 1 else f"{unit.noun}s {labels[0]} to {labels[1]}"
        futures.append(some.submit(title, first, last))
    return futures


def _on_a_cluster(
    ledger: Ledger[I, R], job: Any, items: list[I], runner: Runner, stop: threading.Event
) -> list[PrefectFuture[Any]]:
    """One task that hands the items to workers, and asks the store in the end what is missing: that is done again."""
    unit = ledger.unit

    @task(name=f"{unit.name}, on workers", task_run_name="{count} {noun}s", cache_policy=NO_CACHE)
    def all_of_them(count: int, noun: str) -> None:
        from flows.common.cluster import connected, heard, survey

        log = get_run_logger()
        with connected(runner, getattr(job, "device", "auto"), len(items), log) as client, heard(log, client):
            crew = Crew(client, unit, job, survey(client, unit, job, log), stop, log)
            for attempt in range(2):
                missing = {unit.label(each) for each in unit.missing(job)} if attempt else set()
                left = [
                    item
                    for item in items
                    if (label := unit.label(item)) not in ledger.done or label in missing
                ]
                if attempt and left:
                    log.warning("%d %ss are not in the store: once more", len(left), noun)
                for ended in crew.carry_out(left):
                    if ended.error is None:
                        ledger.finished(ended.item, ended.result)
                    else:
                        ledger.failed(ended.item, ended.error, log)
        if ledger.errors:
            raise SomeFailed(f"{len(ledger.errors)} of {count} failed")

    return [all_of_them.submit(len(items), unit.noun)]


def _name_failures(ledger: Ledger[Any, Any]) -> None:
    rows = [
        {ledger.unit.noun: label, "why": one_line(error)[:300]}
        for label, error in list(ledger.errors.items())[:SHOWN_FAILURES]
    ]
    key = f"{ledger.unit.name.replace(' ', '-')}-failures"
    publish(create_table_artifact, table=rows, key=key, description=f"{len(ledger.errors)} failed")
