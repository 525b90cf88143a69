"""verify: is every planned row, picture, curve and code there and as it was written? If not, exactly that again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow, get_run_logger, unmapped
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.common.artifacts import markdown_table
from flows.common.claiming import alone_in
from flows.common.naming import artifact_key, run_name
from flows.common.outcome import RunFailed, gather, one_line_failures
from flows.common.progress import RunProgress
from flows.common.reporting import publish
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.runners import Runner
from flows.forms.runs import PrecomputeParams
from flows.precompute import precompute
from storage.errors import Damage
from tasks.edit.unit import EDIT
from tasks.free_generation import generate
from tasks.invert import INVERT
from tasks.verify.check import Found, Survey, check_shards, check_stores, survey
from tasks.verify.repair import edit_job, free_job, invert_job, precompute_job, prepare_repair

AGAIN = "Run the same command again: what is sound is not done again."
SHOWN = 50
"""Damaged files on the run's page; the summary holds all of them."""


class VerifyParams(BaseModel):
    """A run folder, or a store, to look through."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(
        description="Output folder of edit, optimize or invert; or a directions or latents store."
    )
    repair: bool = Field(default=False, description="Do again what is damaged or missing, and nothing else.")


@dataclass(frozen=True)
class VerifySummary:
    """What was looked at in `run`, what is damaged in the end, and which files were made again."""

    run: str
    rows: int
    pictures: int
    damaged: list[Damage]
    repaired: list[str]


@flow(
    name="verify",
    description="Every planned row, picture and code of a run: there, readable, of the recorded sha256; or made again.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
def verify(params: VerifyParams) -> VerifySummary:
    """Look at everything; with `repair` do the damaged shards again and look once more.

    Fails when something is damaged in the end.
    """
    what = survey(params.run)
    found = look(params.run, what)
    for damage in found.damages[:SHOWN]:
        get_run_logger().warning("%s %s", damage.file, damage.what)
    repaired: list[str] = []
    if params.repair and found.damages:
        before = found.damages
        if what.store is None:
            with alone_in(params.run):
                refused = make_again(params.run, what, found.damages)
        else:  # a flow of its own mends it
            refused = make_again(params.run, what, found.damages)
        found = look(params.run, what)
        found += Found(damages=tuple(refused))
        still = {damage.file for damage in found.damages}
        repaired = sorted({damage.file for damage in before} - still)
    summary = VerifySummary(params.run, found.rows, found.pictures, list(found.damages), repaired)
    show(summary)
    if found.damages:
        first, files = found.damages[0], len({damage.file for damage in found.damages})
        raise RunFailed(
            f"{files} files of {params.run} are damaged or missing, such as {first.file}: {first.what}. "
            + (
                "What could not be repaired is named above"
                if params.repair
                else "To make them again: --repair"
            ),
            summary,
        )
    return summary


def look(place: str, what: Survey) -> Found:
    """Everything that a run or store has written."""
    with RunProgress(
        artifact_key("verify-progress", place), "verified", len(what.parts) + 1, unit="parts"
    ) as progress:
        found = gather(check_shards.map(unmapped(place), what.parts), progress, AGAIN)
        found += gather([check_stores.submit(place, what)], progress, AGAIN)
    return sum(found, Found())


def make_again(place: str, what: Survey, damages: tuple[Damage, ...]) -> list[Damage]:
    """Do the damaged shards again; what nobody can make again comes back."""
    if what.store == "directions":
        precompute(PrecomputeParams(**precompute_job(place).model_dump()))
        return []
    if what.store is not None:
        return list(damages)  # the run that made these codes mends them
    repair = prepare_repair(place, damages)
    with RunProgress(artifact_key("repair-progress", place), "made again", len(repair.shards)) as progress:
        if repair.shards and what.flow == "edit":
            carry_out(EDIT, edit_job(place), repair.shards, Runner(), progress, AGAIN)
        elif repair.shards and what.flow == "invert":
            carry_out(INVERT, invert_job(place), repair.shards, Runner(), progress, AGAIN)
        elif repair.shards:
            generate(*free_job(place))
            progress.advance()
    return [damage for damage in repair.refused if damage not in damages]


def show(summary: VerifySummary) -> None:
    """The outcome on the run's page: counts, and the first damaged files."""
    lines = f"{summary.rows} rows and {summary.pictures} pictures; {len(summary.damaged)} things are wrong."
    if summary.repaired:
        lines += f" {len(summary.repaired)} files were made again."
    table = markdown_table([asdict(damage) for damage in summary.damaged[:SHOWN]]) if summary.damaged else ""
    publish(
        create_markdown_artifact,
        markdown=f"## {summary.run}\n\n{lines}\n\n{table}\n",
        key=artifact_key("verify-summary", summary.run),
        description="What is damaged",
    )
