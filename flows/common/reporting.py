"""What a run tells Prefect, as far as Prefect listens: no run ends, or is lost, because nobody did.

Prefect's client tries a call again for a minute and then raises, and its engine calls a flow whose end it cannot tell
Failed, or nothing at all. So progress goes through a thread of its own, artifacts are made when the server answers, and
a run that has done its work waits for the server before Prefect's engine reports its end.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, get_current_settings

from flows.common.artifacts import rounded

PATIENCE = 600.0
"""Seconds that a run whose work is done waits for a server that does not answer."""
EVERY = 1.0
"""Seconds between two updates of a progress artifact, at least."""
LEAVE = 3.0
"""Seconds for the last update of a progress artifact."""


class Line:
    """The line to the server: whether there is hope for it, and whether it was given up."""

    def __init__(self) -> None:
        self.hope: Callable[[], bool] = lambda: True
        """False when waiting is of no use: a command asks whether its own server is still there."""
        self.given_up = False

    def answers(self) -> bool:
        """Whether the server answers now; asked by a new client, which does not try again."""

        def ask() -> bool:
            with get_client({"timeout": 10.0}, sync_client=True) as client:
                return client.api_healthcheck() is None

        # without the run's context, whose client would try for a minute
        return contextvars.Context().run(ask)

    def wait(self) -> bool:
        """Return when the server answers; False when it was given up, after `PATIENCE` or for want of hope."""
        if self.given_up:
            return False
        begun, said = time.monotonic(), False
        while not self.answers():
            if not self.hope() or time.monotonic() - begun > PATIENCE:
                self.given_up = True
                # what Prefect's engine still tries shall fail at once
                get_current_settings().client.max_retries = 0
                return False
            if not said:
                said = True
                print(
                    f"Prefect does not answer at {PREFECT_API_URL.value()}. All work is kept; waiting up to "
                    f"{PATIENCE / 60:.0f} minutes to report it",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(1.0)
        return True


line = Line()


def publish(create: Callable[..., Any], **content: Any) -> None:
    """Make an artifact by one of Prefect's functions; a server that is away or refuses costs the artifact alone."""
    if not line.wait():
        return
    try:
        create(**{name: rounded(value) if name == "table" else value for name, value in content.items()})
    except Exception as error:  # whatever it is, the run's results do not depend on it
        get_run_logger().warning("artifact %s could not be made: %s", content.get("key"), one_line(error))


def one_line(error: BaseException) -> str:
    """Kind and message of an error, without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class ProgressArtifact:
    """A progress artifact that a thread keeps up to date with the newest state; nobody waits for it."""

    def __init__(self, key: str, percent: float, description: str) -> None:
        self._key = key
        self._news: tuple[float, str] | None = (percent, description)
        self._bell = threading.Condition()
        self._ending = False
        context = contextvars.copy_context()  # the artifact belongs to the run that made it
        self._thread = threading.Thread(target=context.run, args=(self._send_all,), daemon=True)
        self._thread.start()

    def tell(self, percent: float, description: str) -> None:
        """Show this state as soon as may be; a state that was not sent yet is forgotten."""
        with self._bell:
            self._news = percent, description
            self._bell.notify()

    def close(self) -> None:
        """Give the last state a little time to arrive."""
        with self._bell:
            self._ending = True
            self._bell.notify()
        self._thread.join(LEAVE)

    def _send_all(self) -> None:
        artifact: UUID | None = None
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._news is not None or self._ending)
                news, self._news = self._news, None
            if news is None:
                return
            percent, description = news
            try:
                if artifact is None:
                    made: Any = create_progress_artifact(percent, key=self._key, description=description)
                    artifact = made
                else:
                    update_progress_artifact(artifact, percent, description=description)
            except Exception:  # tried again, unless a newer state says more
                if line.given_up:
                    return
                with self._bell:
                    self._news = self._news or news
            with self._bell:
                self._bell.wait_for(lambda: self._ending, EVERY)
