"""How far a run is: a bar in the terminal, a line per unit in the run's log, and a progress artifact on its page."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from prefect import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.common.reporting import ProgressArtifact
from tasks.process.plans import ShardDone

PLAIN_EVERY = 10.0
"""Seconds between two lines where the terminal cannot show a bar."""


class RunProgress:
    """Counts finished units; use as a context manager and call `advance` after each.

    `key` names the Prefect artifact (lower case and dashes), `title` stands before the bar, `done` units of
    `total` were finished by an earlier run; `rows_per_image` rows of a unit's summary are about one image.
    """

    def __init__(
        self, key: str, title: str, total: int, done: int = 0, unit: str = "shards", rows_per_image: int = 1
    ) -> None:
        self.title, self.total, self.done, self.unit = title, total, done, unit
        self.images = 0.0
        self._key, self._rows_per_image = key, rows_per_image
        self._begun = self._printed = time.monotonic()
        self._first = done
        self._log = get_run_logger()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
        )

    @property
    def percent(self) -> float:
        """Finished share, rounded: the UI prints every digit that it gets."""
        return round(100.0 * self.done / self.total, 1) if self.total else 100.0

    @property
    def pace(self) -> str:
        """How fast the run is and how long it will still take, as far as can be told: "8.3 images/s, 12 min left"."""
        passed, here = time.monotonic() - self._begun, self.done - self._first
        words = []
        if self.images:
            rate = self.images / passed
            words.append(f"{rate:.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s")
        if here and self.done < self.total:
            words.append(f"{duration(passed / here * (self.total - self.done))} left")
        return ", ".join(words)

    @property
    def words(self) -> str:
        """The state in one line: "edited: 3 of 20 shards, 8.3 images/s, 12 min left"."""
        return ", ".join(filter(None, [f"{self.title}: {self.done} of {self.total} {self.unit}", self.pace]))

    def __enter__(self) -> Self:
        self._artifact = ProgressArtifact(self._key, self.percent, self.words)
        if sys.stderr.isatty():
            self._bar.start()
            self._row = self._bar.add_task(self.title, total=self.total, completed=self.done)
        return self

    def advance(self, summary: object = None) -> None:
        """One more unit is finished; the log says how many rows of a shard are ok and failed."""
        self.done += 1
        rows = ""
        if isinstance(summary, ShardDone):
            self.images += (summary.ok + summary.failed) / self._rows_per_image
            rows = f"; shard {summary.shard}: {summary.ok} rows ok, {summary.failed} failed"
        self._log.info("%s%s", self.words, rows)
        self._artifact.tell(self.percent, self.words)
        if sys.stderr.isatty():
            self._bar.update(self._row, completed=self.done)
        elif time.monotonic() - self._printed >= PLAIN_EVERY or self.done == self.total:
            self._printed = time.monotonic()
            print(self.words, file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.stderr.isatty():
            self._bar.stop()
        self._artifact.close()


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
