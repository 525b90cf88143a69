"""Work for the workers of a Dask cluster: few units in flight, nothing held, and no loss that is not named."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, KilledWorker

from flows.common.outcome import RunFailed
from tasks.process.units import WORKER_DIED, Sight, Unit, perform

IN_FLIGHT = 2
"""Units per worker that are submitted: one is done, the next one waits beside it."""

LOOK_EVERY, WARN_EVERY, GIVE_UP = 5.0, 60.0, 1800.0
"""Seconds between looks at the workers, between warnings that there is none, and until one without any ends."""


class Stopped(Exception):
    """The run was told to end."""


def scheduler_gone(address: str) -> RunFailed:
    """The error for a scheduler that does not answer any more."""
    return RunFailed(
        f"the Dask scheduler at {address} is gone: start it and its workers, and run the same command again; finished "
        "shards are kept"
    )


@dataclass(frozen=True)
class Ended:
    """How a unit ended: `result`, or an `error`; `died` when it took its worker process along."""

    item: Any
    result: Any = None
    error: BaseException | None = None
    died: bool = False


class Crew:
    """The workers of a cluster, for one job of one unit; `sight` is what they must see of it.

    All methods raise RunFailed when the scheduler is gone, or no worker was there for half an hour, and Stopped soon
    after `stop` is set.
    """

    def __init__(
        self,
        client: Client,
        unit: Unit[Any, Any, Any],
        job: Any,
        sight: Sight,
        stop: threading.Event,
        log: Any,
    ) -> None:
        self._client, self._unit, self._job, self._sight = client, unit, job, sight
        self._stop, self._log = stop, log
        self._address = address_of(client)
        self._workers: set[str] = set()
        self._looked = self._warned = -WARN_EVERY
        self._seen = time.monotonic()
        self._number = itertools.count()

    def carry_out(self, items: Iterable[Any]) -> Iterator[Ended]:
        """Every item as it ends. One whose worker dies is done again, alone, and split if it kills that one too."""
        suspects = []
        for ended in self._each(items, self._unit.work):
            if ended.died:  # a dying worker's neighbours are blamed as well
                suspects.append(ended.item)
                self._log.warning("%s: its worker died; it is done again, alone", self._called(ended.item))
            else:
                yield ended
        for item in suspects:
            ended = self._alone(self._unit.work, item)
            if ended.died and self._unit.split:
                ended = self._divided(item)
            yield ended

    def _called(self, item: Any) -> str:
        return f"{self._unit.noun} {self._unit.label(item)}"

    def _divided(self, item: Any) -> Ended:
        """The item without those of its images that kill their worker."""
        split = self._unit.split
        assert split is not None
        names, lost = split.names(self._job, item), {}
        self._log.warning(
            "%s: its worker died again; each of its %d images alone", self._called(item), len(names)
        )
        for position, name in enumerate(names):
            if self._alone(split.alone, item, position).died:
                lost[position] = WORKER_DIED
                self._log.warning("%s: image '%s' kills its worker", self._called(item), name)
        return self._alone(split.without, item, lost)

    def _alone(self, work: Callable[..., Any], item: Any, *arguments: Any) -> Ended:
        (ended,) = self._each([item], work, *arguments)
        return ended

    def _each(self, items: Iterable[Any], work: Callable[..., Any], *arguments: Any) -> Iterator[Ended]:
        waiting = iter(items)
        busy: dict[str, tuple[Any, Future]] = {}
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()

        def feed() -> None:
            self._look()
            for item in itertools.islice(waiting, max(0, self._width - len(busy))):
                # unique: a key that died would be remembered as dead
                key = f"{self._called(item)}-{next(self._number)}-{uuid.uuid4().hex[:8]}"
                future = self._client.submit(
                    perform,
                    self._unit.sight,
                    self._job,
                    self._sight,
                    work,
                    item,
                    *arguments,
                    key=key,
                    pure=False,
                )
                busy[key] = item, future
                future.add_done_callback(ended.put)

        try:
            feed()
            while busy:
                try:
                    future = ended.get(timeout=1.0)
                except queue.Empty:
                    feed()
                    continue
                item, _ = busy.pop(str(future.key))
                yield self._outcome(item, future)
                # else a worker's death re-runs what is finished
                future.release()
                del future
                feed()
        finally:
            for _, future in busy.values():
                future.cancel()

    @property
    def _width(self) -> int:
        return IN_FLIGHT * max(1, len(self._workers))

    def _outcome(self, item: Any, future: Future) -> Ended:
        if future.status in ("cancelled", "lost"):
            raise scheduler_gone(self._address)
        try:
            if future.status == "finished":
                return Ended(item, result=future.result())
            error = future.exception()
        except (
            CancelledError,
            OSError,
        ):  # on the way here; the unit's own errors are not raised by `exception`
            raise scheduler_gone(self._address) from None
        if isinstance(error, KilledWorker):
            message = f"every process that worked on {self._called(item)} died"
            return Ended(item, error=RuntimeError(message), died=True)
        return Ended(item, error=error)

    def _look(self) -> None:
        """Who is there; says who has gone and come, and that nobody is there."""
        if self._stop.is_set():
            raise Stopped
        if (now := time.monotonic()) - self._looked < LOOK_EVERY:
            return
        self._looked = now
        workers = addresses(self._client, self._address)
        if gone := self._workers - workers:
            self._log.warning("%d workers gone, %d there", len(gone), len(workers))
        elif self._workers and (new := workers - self._workers):
            self._log.info("%d workers have come, %d there", len(new), len(workers))
        self._workers = workers
        if workers:
            self._seen = now
        elif now - self._seen > GIVE_UP:
            raise RunFailed(
                f"no worker was there for {GIVE_UP / 60:.0f} minutes: start some with `styleclip workers start "
                f"--address {self._address}`, and run the same command again; finished shards are kept"
            )
        elif now - max(self._warned, self._seen) > WARN_EVERY:
            self._warned = now
            self._log.warning("no worker is there: waiting for one at %s", self._address)


def address_of(client: Client) -> str:
    """Where the scheduler is."""
    return str(client.scheduler.address) if client.scheduler else "?"


def addresses(client: Client, address: str) -> set[str]:
    """Addresses of the workers. Raises RunFailed when the scheduler is gone."""
    try:
        return set(client.scheduler_info(n_workers=-1)["workers"])
    except Exception as error:  # Dask has several: TimeoutError, OSError, ClosedClientError, CommClosedError
        logging.getLogger("styleclip").debug("no scheduler: %r", error)
        raise scheduler_gone(address) from None
