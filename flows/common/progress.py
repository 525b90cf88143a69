"""How far a run is: a bar in the terminal, and a progress artifact on the run's page in Prefect."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 10.0
"""Seconds between two lines where the terminal cannot show a bar."""


class RunProgress:
    """Counts finished units; use as a context manager and call `advance` after each.

    `key` names the Prefect artifact (lower case and dashes), `title` stands before the bar, `done` units of
    `total` were finished by an earlier run.
    """

    def __init__(self, key: str, title: str, total: int, done: int = 0, unit: str = "shards") -> None:
        self.title, self.total, self.done, self.unit = title, total, done, unit
        self._key = key
        self._artifact: UUID | None = None
        self._begun = self._printed = time.monotonic()
        self._first = done
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

    def __enter__(self) -> Self:
        artifact = create_progress_artifact(self.percent, key=self._key, description=self.title)
        self._artifact = artifact if isinstance(artifact, UUID) else None
        if sys.stderr.isatty():
            self._bar.start()
            self._row = self._bar.add_task(self.title, total=self.total, completed=self.done)
        return self

    def advance(self, n: int = 1) -> None:
        """n more units are finished."""
        self.done += n
        if self._artifact is not None:
            update_progress_artifact(self._artifact, self.percent)
        if sys.stderr.isatty():
            self._bar.update(self._row, completed=self.done)
        elif time.monotonic() - self._printed >= PLAIN_EVERY or self.done == self.total:
            self._printed = time.monotonic()
            left = (self._printed - self._begun) / (self.done - self._first) * (self.total - self.done)
            remaining = f", about {left:.0f} s left" if self.done < self.total else ""
            print(
                f"{self.title}: {self.done} of {self.total} {self.unit}{remaining}",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.stderr.isatty():
            self._bar.stop()
