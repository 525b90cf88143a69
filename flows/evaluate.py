"""evaluate: do edits do what their words say, and nothing else? Which method does it best, and at what price?"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.runners import one_at_a_time
from flows.compare import compare
from flows.costs import costs
from flows.forms.runs import EvaluateParams
from storage import uris
from storage.errors import StorageError
from storage.metrics import write_table
from tasks.evaluate.score import EvaluateJob, evaluate_edit

AGAIN = "Run the same command again."


@flow(
    name="evaluate",
    description="Score edits with a judge that guided nothing, or compare methods at matched strength, or their costs.",
    task_runner=one_at_a_time(),
)
@one_line_failures
def evaluate(params: EvaluateParams) -> dict[str, Any]:
    """Strengths of the avatars' edits, or methods at matched strength, or what methods cost: one table each.

    Returns {table, output} and, for the edits, {edits, reached}.
    """
    if params.costs:
        return {"table": costs(params, AGAIN), "output": params.output}
    if params.compare or params.edits_file:
        return {"table": compare(params, AGAIN), "output": params.output}
    return score_edits(params)


def read_strengths(uri: str) -> dict[str, dict[str, Any]]:
    """Edit → {alpha, channels}, as an earlier evaluation wrote them. Raises StorageError for any other file."""
    try:
        found = json.loads(uris.read_bytes(uri))
        return {
            str(edit): {"alpha": float(each["alpha"]), "channels": int(each["channels"])}
            for edit, each in found.items()
        }
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:160]
        raise StorageError(
            f"strengths file {uri} cannot be used ({type(error).__name__}: {why}): give the strengths.json of an "
            "earlier evaluation"
        ) from error


def score_edits(params: EvaluateParams) -> dict[str, Any]:
    """One task per (method, edit), then the table; returns {table, output, edits, reached}."""
    job = EvaluateJob(
        bundle=params.bundle,
        device=params.device,
        directions=params.directions,
        output=params.output,
        images=params.images,
        choose_images=params.choose_images,
    )
    known = read_strengths(params.strengths) if params.strengths else {}
    pairs = [(edit, method) for method in params.methods for edit in params.edits]
    with RunProgress("evaluate-progress", "scored", len(pairs), unit="edits") as progress:
        futures = [evaluate_edit.submit(job, edit, method, **known.get(edit, {})) for edit, method in pairs]
        rows = gather(futures, progress, AGAIN)
    write_table(uris.join(params.output, "evaluation.parquet"), pd.DataFrame(rows))
    chosen = {row["edit"]: {"alpha": row["alpha"], "channels": row["channels"]} for row in rows}
    uris.write_bytes(uris.join(params.output, "strengths.json"), json.dumps(chosen, indent=1).encode())
    create_table_artifact(rows, key="evaluation", description=f"{params.images} held-out avatars")
    return {
        "table": rows,
        "output": params.output,
        "edits": len(rows),
        "reached": sum(row["reached"] for row in rows),
    }
