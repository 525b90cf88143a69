"""train-mappers: one latent mapper per attribute, many attributes at once (paper §5)."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.common.artifacts import as_data_uri, markdown_table
from flows.common.claiming import alone
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import RunFailed, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.files import read_attributes
from flows.forms.mappers import named
from flows.forms.runs import TrainMappersParams
from storage import uris
from tasks.edit.plan import neutral_words
from tasks.jobs import MapperAttribute, MapperJob
from tasks.mappers.analyse import Analysis, analyse_mappers
from tasks.mappers.state import begun_anew, group_name
from tasks.mappers.train import Trained, plan_training
from tasks.mappers.unit import TRAIN, Group
from tasks.process.sheets import picture_column

AGAIN = "Run the same command again: training goes on at its last checkpoint."


@dataclass(frozen=True)
class TrainSummary:
    """`begun_anew`: attributes that an earlier run here had trained in another grouping."""

    output: str
    mappers: int
    begun_anew: list[str]
    table: list[Trained]
    analysis: Analysis


@flow(
    name="train-mappers",
    description="One latent mapper per attribute, several trained together; resumes at the last checkpoint.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
@alone
def train_mappers(params: TrainMappersParams) -> TrainSummary:
    """Plan, then every group of attributes, then the analysis of the paper's Table 2.

    Fails when an attribute had to be stopped, everything done being kept.
    """
    specs = params.attributes + (read_attributes(params.attributes_file) if params.attributes_file else [])
    attributes = named(specs, neutral_words(params.bundle))
    groups = grouped(attributes, params.together)
    job = MapperJob.of(params)
    planned = plan_training(job, attributes)
    get_run_logger().info(
        "%d attributes in %d groups, latents: %s; results go to %s",
        len(attributes), len(groups), planned.latents or "sampled", params.output,
    )  # fmt: skip
    if anew := begun_anew(job.output, groups):
        get_run_logger().warning(
            "another grouping trained %s here before: begun anew, with the same end; the earlier `together` goes on",
            ", ".join(anew),
        )
    with RunProgress(
        artifact_key("train-mappers-progress", job.output), "trained", len(groups), unit="groups"
    ) as progress:
        items = [Group(name, members) for name, members in groups.items()]
        done = carry_out(TRAIN, job, items, params.runner, progress, AGAIN)
        table = [row for rows in done for row in rows]
    analysis = analyse_mappers(
        params.bundle, params.device, [row.mapper for row in table], params.output, params.analysis
    )
    show(params, table, analysis)
    if stopped := [row.stopped for row in table if row.stopped]:
        raise RunFailed(
            f"{len(stopped)} of {len(table)} mappers stopped early: {stopped[0]} ({params.output})"
        )
    return TrainSummary(params.output, len(table), anew, table, analysis)


def grouped(attributes: list[MapperAttribute], together: int) -> dict[str, list[MapperAttribute]]:
    """Group name → at most `together` attributes of one shape; their order is kept.

    What an attribute learns does not depend on its group, so `together` may change from run to run; only a state
    belongs to its group, and is found by the group's name.
    """

    def shape(attribute: MapperAttribute) -> tuple[str, tuple[str, ...]]:
        return attribute.space, tuple(attribute.levels) if attribute.space == "levels" else ()

    groups: dict[str, list[MapperAttribute]] = {}
    for _, members in itertools.groupby(sorted(attributes, key=shape), key=shape):
        same = list(members)
        for first in range(0, len(same), together):
            group = same[first : first + together]
            groups[group_name(group)] = group
    return groups


def show(params: TrainMappersParams, table: list[Trained], analysis: Analysis) -> None:
    """The run's artifacts: mappers with pictures before and after, and how alike their steps are."""
    strips = [uris.read_bytes(uris.join(params.output, "pictures", f"{row.attribute}.png")) for row in table]
    sheet = picture_column(strips, [row.attribute for row in table])
    similarities = [asdict(row) for row in analysis.table]
    publish(
        create_markdown_artifact,
        markdown=f"## Mappers of `{params.bundle}`\n\n{markdown_table([asdict(row) for row in table])}\n\n"
        "Held-out codes before and after:\n\n"
        f"![before and after]({as_data_uri(sheet)})\n\n### How alike one mapper's steps are\n\n"
        f"{markdown_table(similarities)}\n",
        key=artifact_key("train-mappers-summary", params.output),
        description=f"Mappers in {params.output}",
    )
    publish(
        create_table_artifact,
        table=similarities,
        key=artifact_key("mapper-steps", params.output),
        description="Cosine similarity of steps (Table 2)",
    )
