"""compare: which method does it best? The same images, the same words, at matched strength."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.common.artifacts import as_data_uri, markdown_table
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import one_at_a_time
from flows.forms.edits import MapperForm, edit_form
from flows.forms.files import read_edits
from flows.forms.grid import expand, own_name
from flows.forms.runs import CompareParams
from styleclip.edits import Edit
from styleclip.errors import EditError
from tasks.edit.plan import neutral_words
from tasks.evaluate.compare import MethodRow, compare_methods
from tasks.evaluate.contests import avatar_contest, contested
from tasks.evaluate.tables import write_methods
from tasks.jobs import CompareJob
from tasks.process.sheets import opened

AGAIN = "Run the same command again."
SHOWN = (
    "edit",
    "method",
    "strength",
    "matched",
    "reached",
    "success",
    "dependency",
    "identity",
    "ms_per_edit",
)


@dataclass(frozen=True)
class Comparison:
    """Methods compared, group by group."""

    output: str
    table: list[MethodRow]


@flow(
    name="compare",
    description="Edits of several methods on the same images, each as strong as the first.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
def compare(params: CompareParams) -> Comparison:
    """One task per group of words, then the table: methods.parquet, methods.png and an artifact with both."""
    job = CompareJob.of(params)
    groups = contests(params)
    with RunProgress(
        artifact_key("compare-progress", params.output), "compared", len(groups), unit="edits"
    ) as progress:
        futures = [compare_methods.submit(job, group, edits) for group, edits in groups.items()]
        table = [row for rows in gather(futures, progress, AGAIN) for row in rows]
    captions = {
        group: f"{group}: reconstruction, {', '.join(edit.method for edit in edits)}"
        for group, edits in groups.items()
    }
    sheet = opened(write_methods(params.output, table, captions))
    shown = [{name: value for name, value in asdict(row).items() if name in SHOWN} for row in table]
    publish(
        create_markdown_artifact,
        markdown=f"## Methods at matched strength\n\n{markdown_table(shown)}\n\n"
        f"![reconstruction above, then one row per method]({as_data_uri(sheet)})\n",
        key=artifact_key("methods", params.output),
        description=f"{params.images} images, results in {params.output}",
    )
    return Comparison(params.output, table)


def contests(params: CompareParams) -> dict[str, list[Edit]]:
    """Group → the edits that stand against each other; the first of each group sets the strength of the others.

    From the edits file, edits with the same target are a group. Raises EditError where a group has one method only.
    """
    if params.edits_file:
        specs = read_edits(params.edits_file)
        if nameless := [spec for spec in specs if isinstance(spec, MapperForm) and not spec.target]:
            raise EditError(f"mapper '{nameless[0].mapper}' needs a 'target': edits are compared by it")
    else:
        specs = [
            edit_form(**fields)
            for edit in params.edits or contested()
            for fields in avatar_contest(edit, params.methods)
        ]
    neutral = neutral_words(params.bundle)
    specs.sort(key=lambda spec: str(spec.target))  # stable: the order of methods stays
    groups: dict[str, list[Edit]] = {}
    for target, members in groupby(specs, key=lambda spec: spec.target):
        same = list(members)
        if len(same) < 2:
            raise EditError(
                f"'{target}' is asked of one method only: give it by two or more, or leave it out"
            )
        group = own_name(same[0], same[0].neutral or neutral)
        while group in groups:  # other words may leave the same name
            group += "-2"
        named = [spec.model_copy(update={"name": f"{group}-{number}"}) for number, spec in enumerate(same)]
        groups[group] = expand(named, neutral)
    return groups
