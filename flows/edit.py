"""edit: a folder of images in, edited images and one metrics row per (image, edit) out, by any method of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.common.artifacts import as_data_uri, markdown_table
from flows.common.claiming import alone
from flows.common.dates import dated
from flows.common.fit import misfit_of
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import one_line_failures, too_many_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.files import read_edits
from flows.forms.grid import expand
from flows.forms.runners import share
from flows.forms.runs import EditParams
from flows.report import report_on
from tasks.edit.plan import neutral_words, plan_edits
from tasks.edit.summary import EditSummary, summarise, titled
from tasks.edit.unit import EDIT
from tasks.jobs import EditJob
from tasks.process.sheets import opened

AGAIN = "Run the same command again: finished shards are not done again."


@flow(
    name="edit",
    description="Edit a folder of images by words; one Parquet row per image and edit; resumes after any crash.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
@alone
def edit(params: EditParams) -> EditSummary:
    """Plan, then every unfinished shard, then the summary.

    Fails, everything done being kept, when more than `max_failed_fraction` of the rows failed.
    """
    params = dated(params)
    job = EditJob.of(params)
    specs = params.edits + (read_edits(params.edits_file) if params.edits_file else [])
    edits = expand(specs, neutral_words(params.bundle))
    planned = plan_edits(job, edits)
    finished, mine = planned.shards - len(planned.missing), share(planned.missing, params.part)
    if planned.generation:
        changes = ", ".join(f"{count} {what}" for what, count in planned.changes.items() if count)
        get_run_logger().info(
            "The run has grown (generation %d): %s", planned.generation, changes or "no images"
        )
    get_run_logger().info(
        "%d images, %d edits, %d shards of which %d are finished; results go to %s",
        planned.images, len(edits), planned.shards, finished, params.output,
    )  # fmt: skip
    with RunProgress(
        artifact_key("edit-progress", params.output),
        "edited",
        finished + len(mine),
        finished,
        rows_per_image=len(edits),
    ) as progress:
        carry_out(EDIT, job, mine, params.runner, progress, AGAIN)
    summary, grid = summarise(
        job, planned.images, planned.shards, finished, planned.skipped, planned.unknown_words
    )
    summary = replace(summary, misfit=misfit_of(job))
    show(params, summary, grid)
    report_on(params.output)
    too_many_failures(summary, params.max_failed_fraction)
    return summary


def words_never_seen(words: Sequence[str]) -> str:
    """One line about words that mean nothing to the CLIP, so that a run without effect is not taken for a done one."""
    return (
        f"Words this CLIP has never seen: {', '.join(words)}. Edits by them follow noise: choose other words, or "
        "another CLIP."
    )


def show(params: EditParams, summary: EditSummary, grid: bytes | None) -> None:
    """The run's artifacts in Prefect."""
    table = titled(summary.table)
    failures = f"{summary.failed} of {summary.rows} rows failed"
    halved = "".join(
        f" Out of memory: {name} went on with batches of {size}."
        for name, size in summary.halved_batches.items()
    )
    unknown = f" {words_never_seen(summary.unknown_words)}" if summary.unknown_words else ""
    misfit = f" **{summary.misfit}.**" if summary.misfit else ""
    picture = f"![source, reconstruction, edits]({as_data_uri(opened(grid))})" if grid else ""
    publish(
        create_markdown_artifact,
        markdown=f"## {summary.images} images × {summary.edits} edits\n\n{failures}"
        f"{': ' + summary.reasons if summary.reasons else ''}.{halved}{unknown}{misfit} "
        f"Everything is in `{params.output}`.\n\n"
        f"{markdown_table(table)}\n\n{picture}\n",
        key=artifact_key("edit-summary", params.output),
        description=f"Edits of {params.images}",
    )
    publish(
        create_table_artifact,
        table=table,
        key=artifact_key("edit-table", params.output),
        description=f"Means per edit, {params.output}",
    )
