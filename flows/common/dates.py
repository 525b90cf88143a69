"""Output folders that carry a day, for schedules over folders that change from night to night."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from prefect.runtime import flow_run

from flows.forms.runs import EditParams, InvertParams

DATE = "{date}"

P = TypeVar("P", EditParams, InvertParams)


def dated(params: P) -> P:
    """`params` with {date} in its output replaced by the day that this run was scheduled for, YYYY-MM-DD in UTC.

    A run that is retried keeps its day, and so goes on in its folder, even after midnight.
    """
    return params.model_copy(update={"output": with_day(params.output)})


def with_day(output: str) -> str:
    """An output folder with {date} in it replaced by the day that the run at work was scheduled for."""
    if DATE not in output:
        return output
    scheduled = flow_run.scheduled_start_time or datetime.now(UTC)
    return output.replace(DATE, scheduled.astimezone(UTC).date().isoformat())
