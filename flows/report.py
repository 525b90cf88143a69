"""report: one self-contained page about a run, written into its folder."""

from __future__ import annotations

from prefect import flow, get_run_logger
from pydantic import BaseModel, ConfigDict, Field

from flows.common.naming import run_name
from flows.common.outcome import one_line_failures
from tasks.report.write import Written, write_report


class ReportParams(BaseModel):
    """A run to report on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str = Field(description="Output folder of edit, optimize or invert.")


@flow(
    name="report",
    flow_run_name=run_name,
    description="RUN/report.html: one file that opens by double click, also of a million rows.",
)
@one_line_failures
def report(params: ReportParams) -> Written:
    """Write the report of a run, finished or not."""
    return write_report(params.run)


def report_on(run: str) -> None:
    """The report at the end of a run; what goes wrong with it is logged and ends nothing."""
    state = write_report(run, return_state=True)
    if not state.is_completed():
        get_run_logger().warning("no report was written: %s; try: styleclip report %s", state.message, run)
