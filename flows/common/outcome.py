"""How a flow ends: a mistake of the user's is one clear line and a Failed state, not a traceback."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.common.progress import RunProgress
from flows.common.reporting import line, one_line
from storage.errors import StorageError
from styleclip.errors import StyleclipError
from tasks.edit.summary import RunCounts

P = ParamSpec("P")
R = TypeVar("R")

MOST_ATTEMPTS = 5
"""Times that a run may be begun: the server starts silent ones again, and some may be what silences their machine."""

USER_ERRORS = (StyleclipError, StorageError)


class RunFailed(Exception):
    """The run did its work and must not count as done; the message says what is wrong and what is kept, `summary` in
    numbers what came of it."""

    def __init__(self, message: str, summary: object = None) -> None:
        super().__init__(message)
        self.summary = summary


class Ending:
    """How the outermost recipe of this process ended, whatever Prefect could be told of it."""

    result: Any = None
    """Its summary, or the error that it ended with; None as long as it has not."""


ending = Ending()


class OneLine(logging.Filter):
    """Takes the traceback off the log of an error that was foreseen: its one line says all that helps.

    That the engine met an "unexpected exception" is left out altogether: the Failed state has been logged before.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a record to leave out."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (*USER_ERRORS, RunFailed)):
            return True
        record.exc_info = None
        return "unexpected exception" not in record.getMessage()


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(OneLine())


def one_line_failures(recipe: Callable[P, R]) -> Callable[P, R]:
    """Let `recipe` end in a Failed state whose message is the error's one line.

    Only errors that a user can understand and mend are treated so; anything else keeps its traceback. The end is kept
    in `ending`, and waits for a server that is away: Prefect's engine would call the run Failed.
    """

    @functools.wraps(recipe)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        ending.result = None
        result: Any
        try:
            if (flow_run.run_count or 0) > MOST_ATTEMPTS:
                raise RunFailed(
                    f"this run has ended without a word {MOST_ATTEMPTS} times and is not begun again: look at its log "
                    "and at the machine's (memory?); a new run with the same parameters goes on where it stopped"
                )
            result = ending.result = recipe(*args, **kwargs)
        except (*USER_ERRORS, RunFailed) as error:
            ending.result = error
            # the engine takes a state that a flow returns for how the run ended
            result = Failed(message=str(error), data=error)
        except BaseException as error:
            ending.result = error
            if isinstance(error, Exception):
                line.wait()
            raise
        line.wait()
        return result

    # Prefect resolves annotations in the module of the function that it gets: this one, where they mean nothing
    signature = inspect.signature(recipe, eval_str=True)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return wrapper


def gather(futures: Iterable[PrefectFuture[R]], progress: RunProgress, again: str) -> list[R]:
    """Results of all futures in their order; one failed unit never hides the others.

    A mistake of the user's is raised as it is and at once: the units that wait would only meet it again. Otherwise,
    when units failed, RunFailed says how many, why the first of them did, and `again`: how to go on.
    """
    results: list[R] = []
    errors: list[BaseException] = []
    for future in futures:
        result = future.result(raise_on_failure=False)
        if isinstance(result, USER_ERRORS):
            raise result
        if isinstance(result, BaseException):
            errors.append(result)
        else:
            results.append(result)
        progress.advance(result)
    if errors:
        raise some_failed(errors, len(errors) + len(results), progress.unit, again)
    return results


def some_failed(errors: Sequence[BaseException], of: int, units: str, again: str) -> RunFailed:
    """The end of a run of which some units failed: how many, why the first of them did, and how to go on."""
    failure = RunFailed(
        f"{len(errors)} of {of} {units} failed, the first with {one_line(errors[0])}; the others are kept. {again}"
    )
    failure.__cause__ = errors[0]
    return failure


def too_many_failures(summary: RunCounts, allowed: float) -> None:
    """Say in the run's log how it ended, and raise RunFailed when the share of failed rows is above `allowed`."""
    rows, failed, log = summary.rows, summary.failed, get_run_logger()
    if failed:
        log.warning("%d of %d rows failed (%s); results in %s", failed, rows, summary.reasons, summary.run)
    else:
        log.info("all %d rows are ok; results in %s", rows, summary.run)
    if rows and failed / rows > allowed:
        raise RunFailed(
            f"{failed} of {rows} rows failed ({summary.reasons}), more than the allowed share {allowed:g}; "
            f"everything done is kept in {summary.run}. Mend those files and run the same command "
            "again, or with --retry-failed (retry_failed in a deployment) if the files are not at fault; or raise "
            "max_failed_fraction",
            summary,
        )
