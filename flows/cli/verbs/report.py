"""styleclip report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Json, check_folder
from flows.cli.talk import Voice, verb

if TYPE_CHECKING:
    from tasks.report.write import Written


@verb
def report(
    run: Annotated[str, typer.Argument(help="Output folder of a run, finished or not.")],
    as_json: Json = False,
) -> None:
    """Write one page about a run: RUN/report.html, which opens by double click and needs no network.

    Runs write it at their end, too. At most 5 MB, also of a million rows.

    \b
    Example:
      styleclip report runs/red
    """
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice = Voice(as_json)
    check_folder(run, "results")
    runtime = Runtime()
    from flows.report import ReportParams

    summary: Written = run_flow("flows.report:report", ReportParams(run=run), runtime)
    voice.say(
        f"Report: {summary.file} ({summary.bytes / 1e6:.1f} MB, {summary.rows:,} rows, {summary.pictures} pictures)"
    )
    voice.finish(summary)
