"""export: the good pairs of a run as a dataset that Hugging Face and WebDataset open."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from prefect import flow, unmapped
from prefect.artifacts import create_markdown_artifact

from flows.common.artifacts import key_values
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import one_at_a_time
from storage import uris
from tasks.export.card import write_card
from tasks.export.pack import place_of, write_pack
from tasks.export.plan import plan_export
from tasks.jobs import ExportJob

AGAIN = "Run the same command again: finished packs are not written again."


@dataclass(frozen=True)
class ExportSummary:
    """An export in `output`: rows of the run, those accepted, pairs per split, packs and those there before."""

    output: str
    rows: int
    accepted: int
    splits: dict[str, int]
    packs: int
    packs_done_before: int


@flow(
    name="export",
    description="Filter the pairs of a run and pack them with a card; resumes at the first pack that is missing.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
def export(params: ExportJob) -> ExportSummary:
    """Plan, then one task per missing pack, then the card."""
    packs = plan_export(params)
    missing = [pack for pack in packs.packs if not uris.exists(place_of(params, pack))]
    done = len(packs.packs) - len(missing)
    with RunProgress(
        artifact_key("export-progress", params.output), "exported", len(packs.packs), done, "packs"
    ) as progress:
        gather(write_pack.map(unmapped(params), missing), progress, AGAIN)
    write_card(params, packs)
    splits: Counter[str] = Counter()
    for pack in packs.packs:
        splits[pack.split] += pack.rows
    summary = ExportSummary(params.output, packs.rows, packs.accepted, dict(splits), len(packs.packs), done)
    text = f"## Dataset of `{params.run}`\n\n{key_values(vars(summary))}\n"
    publish(
        create_markdown_artifact,
        markdown=text,
        key=artifact_key("export-summary", params.output),
        description=params.output,
    )
    return summary
