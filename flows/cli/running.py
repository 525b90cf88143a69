"""Run one flow in this process and translate how it ended."""

from __future__ import annotations

import logging
import sys
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel

from flows.cli import stopping
from flows.cli.runtime import Runtime, ServerError
from flows.cli.stopping import keep_listening
from flows.cli.talk import Failed, complain

COMMAND = "styleclip-command"
"""Tag of the runs of the command line."""


def run_flow(flow_name: str, params: BaseModel, runtime: Runtime | None = None) -> Any:
    """Run a flow by its name, MODULE:FLOW; its summary.

    `runtime` was made before where something that imports Prefect was. The import of the flow and the server's start,
    both slow, overlap. Raises the user's error as the flow met it (the call was
    wrong), or Failed (the run failed and can be resumed).
    """
    runtime = runtime or Runtime()
    loaded = resolve_name(flow_name)
    try:
        runtime.ready()
    except ServerError as error:
        raise Failed(str(error)) from error
    if runtime.own:
        print(f"Recorded in {runtime.database} (no Prefect server is set)", file=sys.stderr, flush=True)
    from prefect import tags

    from flows.common.outcome import USER_ERRORS, RunFailed, ending
    from flows.common.reporting import line, one_line
    from storage.errors import DiskFull, FolderTaken, StoreCorrupt

    # what Prefect cannot send is no business of the terminal's
    logging.raiseExceptions = False
    flow = loaded.with_options(on_running=[*loaded.on_running_hooks, keep_listening])
    line.hope = runtime.alive
    try:
        with tags(COMMAND):
            state = flow(params, return_state=True)
        result, name = state.result(raise_on_failure=False), state.message or state.name
        completed = state.is_completed()
    except Exception as error:
        # the engine raises what kept it from telling the server; how the work ended, the recipe itself knows
        if not line.given_up and line.answers():
            raise
        complain(f"Prefect could not be told how this run ended: {runtime.url} does not answer any more")
        stopping.Goodbye.pointless = True
        result, name = ending.result, one_line(error)
        completed = result is not None
    if isinstance(result, RunFailed):
        raise Failed(str(result), result.summary)
    if isinstance(result, StoreCorrupt | DiskFull | FolderTaken):
        raise Failed(str(result))
    if isinstance(result, USER_ERRORS):
        raise result
    if isinstance(result, BaseException) or not completed:
        raise Failed(f"{name} (the full log is with the run in Prefect); run again to go on")
    return result
