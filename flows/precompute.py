"""precompute: the CLIP-space direction Δi_c of every style channel, once per generator and CLIP (paper §6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.common.artifacts import key_values
from flows.common.claiming import alone
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.runs import PrecomputeParams
from tasks.jobs import PrecomputeJob
from tasks.precompute import PRECOMPUTE, FinishedStore, finalize_store, prepare_store, take_readings

AGAIN = "Run the same command again: only the missing blocks are computed."


@dataclass(frozen=True)
class PrecomputeSummary(FinishedStore):
    """damaged_files: those whose blocks were computed anew; batch: what was asked for, or less where memory ran out."""

    blocks: int
    blocks_done_before: int
    damaged_files: list[str]
    batch: int


@flow(
    name="precompute",
    description="Channel directions of a bundle into a Zarr store; resumes at the first unfinished block.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
@alone
def precompute(params: PrecomputeParams) -> PrecomputeSummary:
    """Statistics, then every missing block of channels, then readings and the finished directions.

    A run that was stopped before computes the missing blocks alone, and those whose files are damaged.
    """
    job = PrecomputeJob.of(params)
    state = prepare_store(job)
    for file in state.damaged:
        get_run_logger().warning("%s was damaged; its block is computed anew", file)
    finished = state.blocks - len(state.missing)
    with RunProgress(
        artifact_key("precompute-progress", job.output),
        "channel directions",
        state.blocks,
        finished,
        "blocks",
    ) as progress:
        done = carry_out(PRECOMPUTE, job, state.missing, params.runner, progress, AGAIN)
    take_readings(job)
    summary = PrecomputeSummary(
        **asdict(finalize_store(job)),
        blocks=state.blocks,
        blocks_done_before=finished,
        damaged_files=state.damaged,
        batch=min([params.batch, *(block.batch for block in done)]),
    )
    publish(
        create_markdown_artifact,
        markdown=f"## Channel directions of `{params.bundle}`\n\n{key_values(asdict(summary))}\n\n"
        f"Next: `styleclip directions show --directions {params.output} --target '…'`",
        key=artifact_key("precompute-summary", job.output),
        description=f"Channel directions in {params.output}",
    )
    return summary
