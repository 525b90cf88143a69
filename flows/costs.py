"""The part of evaluate that measures what methods cost here, beside what the paper found (Table 1)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from prefect.artifacts import create_table_artifact

from flows.common.outcome import gather
from flows.common.progress import RunProgress
from flows.forms.edits import edit_form
from flows.forms.files import read_edits
from flows.forms.grid import expand
from flows.forms.runs import EvaluateParams
from storage import uris
from storage.metrics import write_table
from styleclip.edits import Edit
from tasks.edit.plan import neutral_words
from tasks.evaluate.contests import avatar_contest, contested
from tasks.evaluate.costs import measure_cost, published_costs

METHODS = ("optimize", "mapper", "global")
COLUMNS = (
    "where", "method", "preprocessing_s", "training_s", "inference_s", "input_dependent", "latent_space",
    "estimated_from",
)  # fmt: skip


def costs(params: EvaluateParams, again: str) -> list[dict[str, Any]]:
    """One task per method, then costs.parquet and a table artifact; the published rows follow the measured ones."""
    edits = _one_of_each(params)
    with RunProgress("costs-progress", "measured", len(edits), unit="methods") as progress:
        futures = [
            measure_cost.submit(params.bundle, params.device, params.directions, edit, params.batch)
            for edit in edits
        ]
        rows = gather(futures, progress, again) + published_costs()
    table = [{column: row.get(column) for column in COLUMNS} for row in rows]
    write_table(uris.join(params.output, "costs.parquet"), pd.DataFrame(table))
    create_table_artifact(
        table, key="costs", description="Seconds per method, here and in the paper's Table 1"
    )
    return table


def _one_of_each(params: EvaluateParams) -> list[Edit]:
    """An edit per method: the first of its kind in the edits file, or the avatars' first contest."""
    if params.edits_file:
        specs = [spec for spec in read_edits(params.edits_file) if spec.method in METHODS]
    else:
        specs = [edit_form(**fields) for fields in avatar_contest(contested()[0], METHODS)]
    first = {spec.method: spec for spec in reversed(specs)}
    named = [spec.model_copy(update={"name": method}) for method, spec in sorted(first.items())]
    return expand(named, neutral_words(params.bundle))
