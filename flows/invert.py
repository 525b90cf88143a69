"""invert: images into latent codes w ∈ W+ with the bundle's encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow

from flows.common.claiming import alone
from flows.common.dates import dated
from flows.common.fit import misfit_of
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import one_line_failures, too_many_failures
from flows.common.progress import RunProgress
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.runners import share
from flows.forms.runs import InvertParams
from flows.report import report_on
from tasks.edit.summary import FinishedRun, RunCounts
from tasks.invert import INVERT, plan_inversion
from tasks.jobs import InvertJob

AGAIN = "Run the same command again: finished shards are not done again."


@dataclass(frozen=True)
class InvertSummary(RunCounts):
    """latents: the store that the codes went to; skipped_files: files that are no images by name; misfit: a warning
    where the images are not what the bundle knows."""

    latents: str
    skipped_files: int
    misfit: str | None = None


@flow(
    name="invert",
    description="Latent codes of a folder of images into a Zarr store; resumes after any crash.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
@alone
def invert(params: InvertParams) -> InvertSummary:
    """Plan, then every unfinished shard.

    Fails, everything done being kept, when more than
    `max_failed_fraction` of the images failed.
    """
    params = dated(params)
    job = InvertJob.of(params)
    planned = plan_inversion(job)
    finished, mine = planned.shards - len(planned.missing), share(planned.missing, params.part)
    with RunProgress(
        artifact_key("invert-progress", job.output), "inverted", finished + len(mine), finished
    ) as progress:
        carry_out(INVERT, job, mine, params.runner, progress, AGAIN)
    counts = FinishedRun.read(job.output).counts()
    summary = InvertSummary(
        **asdict(counts), latents=job.latents, skipped_files=planned.skipped, misfit=misfit_of(job)
    )
    report_on(params.output)
    too_many_failures(summary, params.max_failed_fraction)
    return summary
