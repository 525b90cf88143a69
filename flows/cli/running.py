"""Run one flow in this process and translate how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from flows.cli.runtime import Runtime, ServerError
from flows.cli.stopping import keep_listening
from flows.cli.talk import Failed

P = TypeVar("P")
R = TypeVar("R")


def run_flow(runtime: Runtime, load: Callable[[], Callable[[P], R]], params: P) -> R:
    """Run the flow that `load` imports; its summary.

    The import and the server's start, both slow, overlap. Raises the user's error as the flow met it (the call was
    wrong), or Failed (the run failed and can be resumed).
    """
    loaded: Any = load()
    try:
        runtime.ready()
    except ServerError as error:
        raise Failed(str(error)) from error
    if runtime.own:
        print(f"Recorded in {runtime.database} (no Prefect server is set)", file=sys.stderr, flush=True)
    from flows.common.outcome import USER_ERRORS, RunFailed
    from storage.errors import DiskFull, StoreCorrupt

    flow = loaded.with_options(on_running=[*loaded.on_running_hooks, keep_listening])
    state = flow(params, return_state=True)
    result = state.result(raise_on_failure=False)
    if isinstance(result, RunFailed):
        raise Failed(str(result), result.summary)
    if isinstance(result, StoreCorrupt | DiskFull):
        raise Failed(str(result))
    if isinstance(result, USER_ERRORS):
        raise result
    if isinstance(result, BaseException) or not state.is_completed():
        raise Failed(
            f"{state.message or state.name} (the full log is with the run in Prefect); run again to go on"
        )
    summary: R = result
    return summary
