"""edit: a folder of images in, edited images and one metrics row per (image, edit) out, by any method of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow, get_run_logger, unmapped
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.common.artifacts import as_data_uri, markdown_table
from flows.common.dates import dated
from flows.common.outcome import gather, one_line_failures, too_many_failures
from flows.common.progress import RunProgress
from flows.common.runners import one_at_a_time
from flows.forms.files import read_edits
from flows.forms.grid import expand
from flows.forms.runs import EditParams
from flows.report import report_on
from tasks.edit.plan import neutral_words, plan_edits
from tasks.edit.shard import edit_shard
from tasks.edit.summary import EditSummary, summarise, titled
from tasks.jobs import EditJob
from tasks.process.sheets import opened

AGAIN = "Run the same command again: finished shards are not done again."


@flow(
    name="edit",
    description="Edit a folder of images by words; one Parquet row per image and edit; resumes after any crash.",
    task_runner=one_at_a_time(),
)
@one_line_failures
def edit(params: EditParams) -> EditSummary:
    """Plan, then one task per unfinished shard, then the summary.

    Fails, everything done being kept, when more than `max_failed_fraction` of the rows failed.
    """
    params = dated(params)
    job = EditJob.of(params)
    specs = params.edits + (read_edits(params.edits_file) if params.edits_file else [])
    edits = expand(specs, neutral_words(params.bundle))
    planned = plan_edits(job, edits)
    finished = planned.shards - len(planned.missing)
    get_run_logger().info(
        "%d images, %d edits, %d shards of which %d are finished; results go to %s",
        planned.images, len(edits), planned.shards, finished, params.output,
    )  # fmt: skip
    with RunProgress("edit-progress", "edited", planned.shards, finished) as progress:
        gather(edit_shard.map(unmapped(job), planned.missing), progress, AGAIN)
    summary, grid = summarise(
        job, planned.images, planned.shards, finished, planned.skipped, planned.unknown_words
    )
    publish(params, summary, grid)
    report_on(params.output)
    too_many_failures(summary, params.max_failed_fraction)
    return summary


def words_never_seen(words: Sequence[str]) -> str:
    """One line about words that mean nothing to the CLIP, so that a run without effect is not taken for a done one."""
    return (
        f"Words this CLIP has never seen: {', '.join(words)}. Edits by them follow noise: choose other words, or "
        "another CLIP."
    )


def publish(params: EditParams, summary: EditSummary, grid: bytes | None) -> None:
    """The run's artifacts in Prefect."""
    table = titled(summary.table)
    failures = f"{summary.failed} of {summary.rows} rows failed"
    halved = "".join(
        f" Out of memory: {name} went on with batches of {size}."
        for name, size in summary.halved_batches.items()
    )
    unknown = f" {words_never_seen(summary.unknown_words)}" if summary.unknown_words else ""
    picture = f"![source, reconstruction, edits]({as_data_uri(opened(grid))})" if grid else ""
    create_markdown_artifact(
        f"## {summary.images} images × {summary.edits} edits\n\n{failures}"
        f"{': ' + summary.reasons if summary.reasons else ''}.{halved}{unknown} "
        f"Everything is in `{params.output}`.\n\n"
        f"{markdown_table(table)}\n\n{picture}\n",
        key="edit-summary",
        description=f"Edits of {params.images}",
    )
    create_table_artifact(table, key="edit-table", description=f"Means per edit, {params.output}")
