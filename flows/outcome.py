"""How a flow ends: a mistake of the user's is one clear line and a Failed state, not a traceback."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from prefect.futures import PrefectFuture
from prefect.states import Failed, State

from flows.progress import RunProgress
from storage.errors import StorageError
from styleclip.errors import StyleclipError

P = ParamSpec("P")
R = TypeVar("R")

USER_ERRORS = (StyleclipError, StorageError)


class RunFailed(Exception):
    """The run did its work and must not count as done; the message says what is wrong and what is kept."""


def one_line_failures(recipe: Callable[P, R]) -> Callable[P, R | State[Any]]:
    """Let `recipe` end in a Failed state whose message is the error's one line.

    Only errors that a user can understand and mend are treated so; anything else keeps its traceback.
    """

    @functools.wraps(recipe)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
        try:
            return recipe(*args, **kwargs)
        except (*USER_ERRORS, RunFailed) as error:
            return Failed(message=str(error), data=error)

    # Prefect resolves annotations in the module of the function that it gets: this one, where they mean nothing
    signature = inspect.signature(recipe, eval_str=True)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return wrapper


def gather(futures: Iterable[PrefectFuture[R]], progress: RunProgress, again: str) -> list[R]:
    """Results of all futures in their order; one failed unit never hides the others.

    A mistake of the user's is raised as it is. Otherwise, when units failed, RunFailed says how many, why the first
    of them did, and `again`: how to go on.
    """
    results: list[R] = []
    errors: list[BaseException] = []
    for future in futures:
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            errors.append(result)
        else:
            results.append(result)
        progress.advance()
    for error in errors:
        if isinstance(error, USER_ERRORS):
            raise error
    if errors:
        first = " ".join(f"{type(errors[0]).__name__}: {errors[0]}".split())
        raise RunFailed(
            f"{len(errors)} of {len(errors) + len(results)} {progress.unit} failed, the first with {first}; "
            f"the others are kept. {again}"
        ) from errors[0]
    return results


def too_many_failures(summary: Mapping[str, Any], allowed: float) -> None:
    """Raise RunFailed when the share of failed rows is above `allowed`; reads rows, failed, reasons and run."""
    rows, failed = summary["rows"], summary["failed"]
    if rows and failed / rows > allowed:
        raise RunFailed(
            f"{failed} of {rows} rows failed ({summary['reasons']}), more than the allowed share {allowed:g}; "
            f"everything done is kept in {summary['run']}. Mend or remove those files, or raise max_failed_fraction"
        )
