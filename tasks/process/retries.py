"""Which failures of a unit, or of a task of its own, are worth another try."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from storage.errors import StorageError
from styleclip.errors import StyleclipError

T = TypeVar("T")

RETRIES, RETRY_SECONDS = 2, 5.0


def worth_another_try(task: Any, run: Any, state: Any) -> bool:
    """True unless the error says that the call itself is wrong: it will be wrong the next time, too."""
    return not isinstance(state.data, StyleclipError | StorageError)


def persistently(work: Callable[[], T], log: logging.Logger) -> T:
    """`work()`, again after some seconds when it fails in a way that is worth another try."""
    for left in reversed(range(RETRIES + 1)):
        try:
            return work()
        except (StyleclipError, StorageError):
            raise
        except Exception as error:
            if not left:
                raise
            log.warning("%s: %s; tried again in %g s", type(error).__name__, error, RETRY_SECONDS)
            time.sleep(RETRY_SECONDS)
    raise AssertionError("the last try returns or raises")
