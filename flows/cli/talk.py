"""How every verb speaks: what it will do, where the results are, what to look at next; and one line per mistake."""

from __future__ import annotations

import functools
import json
import math
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, NoReturn, ParamSpec

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

P = ParamSpec("P")

FIGURE = 20
"""Columns no wider than this keep their width; wider ones hold words, and fold."""
GAP = 1
"""Blanks between two columns of a table."""

DONE, RUN_FAILED, WRONG_CALL = 0, 1, 2


class CallError(Exception):
    """The call was wrong; the message says what to write instead."""


class Failed(Exception):
    """The run failed; what it has done is kept. `summary` is what the machine's line says beside the error."""

    def __init__(self, message: str, summary: object = None) -> None:
        super().__init__(message)
        self.summary = {} if summary is None else plain(summary)


class Voice:
    """Words for people go to stdout, or to stderr when stdout is kept for one line of JSON."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line for people; file names and prompts are printed as they are."""
        self.console.print(text, markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A small table for people; numbers stand to the right.

        Figures are never cut and headings break between words: where a terminal is too narrow, the columns that do not
        fit stand in a further table below, beside the first column again.
        """
        widths = [
            max(map(len, [*heading.split(), *(row[place] for row in rows)]), default=1)
            for place, heading in enumerate(columns)
        ]
        width = self.console.width - 2 * GAP  # the box has edges
        first = min(widths[0], width // 3)
        shown, parts = first, [[0]]
        for place in range(1, len(columns)):
            if shown + GAP + widths[place] > width and len(parts[-1]) > 1:
                parts.append([0])
                shown = first
            parts[-1].append(place)
            shown += GAP + widths[place]
        for number, part in enumerate(parts):
            table = Table(
                title=title if number == 0 else None,
                title_justify="left",
                box=SIMPLE_HEAD,
                pad_edge=False,
                padding=0,
            )
            table.add_column(columns[0], overflow="fold", max_width=first)
            for place in part[1:]:
                figures = widths[place] if widths[place] <= FIGURE else None
                table.add_column(columns[place], justify="right", overflow="fold", width=figures)
            for row in rows:
                table.add_row(*(row[place] for place in part))
            self.console.print(table, soft_wrap=False)

    def finish(self, summary: object) -> None:
        """The machine's line, when it was asked for: a summary's fields, or a mapping."""
        if self.as_json:
            write_json(plain(summary))


def plain(summary: object) -> dict[str, Any]:
    """A run's summary as plain values."""
    if isinstance(summary, Mapping):
        return dict(summary)
    if hasattr(summary, "to_json"):
        return dict(summary.to_json())
    assert is_dataclass(summary) and not isinstance(summary, type), summary
    return asdict(summary)


def write_json(summary: Mapping[str, Any]) -> None:
    """One line of JSON on stdout; numbers that are none, which JSON has no word for, become null."""
    sys.stdout.write(json.dumps(_finite(summary), sort_keys=True, allow_nan=False) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def complain(message: str) -> None:
    """One line to stderr, whatever line breaks the message has."""
    sys.stderr.write("styleclip: " + " ".join(message.split()) + "\n")


_stopped = threading.Event()


def say_stopped() -> None:
    """The line of a command that was told to stop; said once, by whoever comes first."""
    if not _stopped.is_set():
        _stopped.set()
        complain("stopped; what is finished is kept, the same command goes on from there")


def leave(message: str, status: int, machine: Mapping[str, Any] | None) -> NoReturn:
    """Say one line and end with `status`; say it to the machine as well, with what `machine` holds, if anything."""
    complain(message)
    if machine is not None:
        write_json({**machine, "error": " ".join(message.split()), "status": status})
    raise typer.Exit(status)


def _wrong_call(error: Exception) -> str | None:
    """The line to say when `error` is a mistake in the call; None for anything else."""
    # imported when there is something to explain, not before every verb
    from pydantic import ValidationError

    from flows.forms.files import first_complaint
    from storage.errors import StorageError
    from styleclip.errors import StyleclipError

    if isinstance(error, ValidationError):
        return first_complaint(error)
    return str(error) if isinstance(error, CallError | StyleclipError | StorageError) else None


def verb(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors that a user can mend into one line and the right exit status."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Failed as error:
            leave(str(error), RUN_FAILED, error.summary if kwargs.get("as_json") else None)
        except KeyboardInterrupt:
            say_stopped()
            raise typer.Exit(RUN_FAILED) from None
        except Exception as error:
            if (message := _wrong_call(error)) is None:
                raise
            leave(message, WRONG_CALL, {} if kwargs.get("as_json") else None)

    return wrapper
