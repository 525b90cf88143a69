"""precompute: the CLIP-space direction Δi_c of every style channel, once per generator and CLIP (paper §6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow, get_run_logger, unmapped
from prefect.artifacts import create_markdown_artifact

from flows.common.artifacts import key_values
from flows.common.outcome import gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.runners import one_at_a_time
from flows.forms.runs import PrecomputeParams
from tasks.jobs import PrecomputeJob
from tasks.precompute import FinishedStore, compute_block, finalize_store, prepare_store, take_readings

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
)
@one_line_failures
def precompute(params: PrecomputeParams) -> PrecomputeSummary:
    """Statistics, then one task per missing block of channels, then readings and the finished directions.

    A run that was stopped before computes the missing blocks alone.
    """
    job = PrecomputeJob.of(params)
    state = prepare_store(job)
    for file in state.damaged:
        get_run_logger().warning("%s was damaged; its block is computed anew", file)
    with RunProgress(
        "precompute-progress", "channel directions", state.blocks, state.blocks - len(state.missing), "blocks"
    ) as progress:
        futures = compute_block.map(unmapped(job), state.missing)
        done = gather(futures, progress, AGAIN)
    take_readings(job)
    summary = PrecomputeSummary(
        **asdict(finalize_store(job)),
        blocks=state.blocks,
        blocks_done_before=state.blocks - len(state.missing),
        damaged_files=state.damaged,
        batch=min([params.batch, *(block.batch for block in done)]),
    )
    create_markdown_artifact(
        f"## Channel directions of `{params.bundle}`\n\n{key_values(asdict(summary))}\n\n"
        f"Next: `styleclip directions show --directions {params.output} --target '…'`",
        key="precompute-summary",
        description=f"Channel directions in {params.output}",
    )
    return summary
