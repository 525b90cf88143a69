"""Which failures of a task are worth another try."""

from __future__ import annotations

from typing import Any

from storage.errors import StorageError
from styleclip.errors import StyleclipError

RETRIES, RETRY_SECONDS = 2, 5.0


def worth_another_try(task: Any, run: Any, state: Any) -> bool:
    """True unless the error says that the call itself is wrong: it will be wrong the next time, too."""
    return not isinstance(state.data, StyleclipError | StorageError)
