"""costs: what each method costs here, beside what the paper found (Table 1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common.naming import artifact_key, run_name
from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import one_at_a_time
from flows.forms.edits import edit_form
from flows.forms.files import read_edits
from flows.forms.grid import expand
from flows.forms.runs import CostsParams
from styleclip.edits import Edit
from tasks.edit.plan import neutral_words
from tasks.evaluate.contests import avatar_contest, contested
from tasks.evaluate.costs import CostRow, measure_cost, published_costs
from tasks.evaluate.tables import write_costs
from tasks.jobs import CostsJob

AGAIN = "Run the same command again."
METHODS = ("optimize", "mapper", "global")


@dataclass(frozen=True)
class Costs:
    """Seconds per method, the published ones below."""

    output: str
    table: list[CostRow]


@flow(
    name="costs",
    description="Seconds per method on this machine, beside the paper's Table 1.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
def costs(params: CostsParams) -> Costs:
    """One task per method, then costs.parquet and a table artifact; the published rows follow the measured ones."""
    edits = _one_of_each(params)
    job = CostsJob.of(params)
    with RunProgress(
        artifact_key("costs-progress", params.output), "measured", len(edits), unit="methods"
    ) as progress:
        measured = gather([measure_cost.submit(job, edit) for edit in edits], progress, AGAIN)
    table = measured + published_costs()
    write_costs(params.output, table)
    publish(
        create_table_artifact,
        table=[asdict(row) for row in table],
        key=artifact_key("costs", params.output),
        description="Seconds per method, here and in the paper's Table 1",
    )
    return Costs(params.output, table)


def _one_of_each(params: CostsParams) -> list[Edit]:
    """An edit per method: the first of its kind in the edits file, or the avatars' first contest."""
    if params.edits_file:
        specs = [spec for spec in read_edits(params.edits_file) if spec.method in METHODS]
    else:
        specs = [edit_form(**fields) for fields in avatar_contest(contested()[0], METHODS)]
    first = {spec.method: spec for spec in reversed(specs)}
    named = [spec.model_copy(update={"name": method}) for method, spec in sorted(first.items())]
    return expand(named, neutral_words(params.bundle))
