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
    if DATE not in params.output:
        return params
    scheduled = flow_run.scheduled_start_time or datetime.now(UTC)
    day = scheduled.astimezone(UTC).date().isoformat()
    return params.model_copy(update={"output": params.output.replace(DATE, day)})
