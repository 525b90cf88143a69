"""evaluate: do edits do what their words say, and nothing else?"""

from __future__ import annotations

from typing import Literal

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common.naming import artifact_key, run_name
from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import one_at_a_time
from flows.forms.runs import EvaluateParams
from tasks.evaluate.score import evaluate_edit
from tasks.evaluate.tables import Scores, read_strengths, write_scores
from tasks.jobs import EvaluateJob

CHOSEN: Literal["chosen"] = "chosen"
AGAIN = "Run the same command again."


@flow(
    name="evaluate",
    description="Score the edits of the embedded avatars with a judge that guided nothing.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
def evaluate(params: EvaluateParams) -> Scores:
    """One task per (method, edit), then the table: evaluation.parquet, strengths.json and an artifact."""
    job = EvaluateJob.of(params)
    chosen = params.strengths == CHOSEN
    known = read_strengths(params.strengths) if params.strengths and not chosen else {}
    otherwise: Literal["auto", "chosen"] = CHOSEN if chosen else "auto"
    pairs = [(edit, method) for method in params.methods for edit in params.edits]
    with RunProgress(
        artifact_key("evaluate-progress", params.output), "scored", len(pairs), unit="edits"
    ) as progress:
        futures = [
            evaluate_edit.submit(job, edit, method, known.get(edit, otherwise)) for edit, method in pairs
        ]
        table = gather(futures, progress, AGAIN)
    scores = write_scores(params.output, table)
    publish(
        create_table_artifact,
        table=[row.to_row() for row in table],
        key=artifact_key("evaluation", params.output),
        description=f"{params.images} held-out avatars",
    )
    return scores
