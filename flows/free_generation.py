"""free generation: pictures from words alone (paper §4). Optimizing images is the edit flow with `method: optimize`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow

from flows.common.claiming import alone
from flows.common.naming import run_name
from flows.common.outcome import RunFailed, one_line_failures
from flows.common.runners import one_at_a_time
from flows.forms.grid import slug
from flows.forms.runs import FreeParams
from flows.report import report_on
from styleclip.errors import EditError
from tasks.free_generation import Drawn, generate
from tasks.jobs import FreeJob


@dataclass(frozen=True)
class FreeSummary(Drawn):
    """images: the files of the pictures."""

    images: list[str]


@flow(
    name="free-generation",
    description="Optimize the mean latent towards words; one picture and one latent code per target.",
    task_runner=one_at_a_time(),
    flow_run_name=run_name,
)
@one_line_failures
@alone
def free_generation(params: FreeParams) -> FreeSummary:
    """One task for all targets."""
    names = [slug(words) for words in params.targets]
    for name, words in zip(names, params.targets, strict=True):
        if not name:
            raise EditError(f"target '{words}' has no letter or digit to make a file name from")
        if names.count(name) > 1:
            raise EditError(f"two targets would both be called '{name}': run them into two folders")
    drawn = generate(FreeJob.of(params), dict(zip(names, params.targets, strict=True)))
    summary = FreeSummary(**asdict(drawn), images=[f"{params.output}/images/{name}.png" for name in names])
    report_on(params.output)
    if summary.failed:
        raise RunFailed(
            f"{summary.failed} of {summary.rows} targets failed because their loss ceased to be a number; "
            f"the others are kept in {params.output}. Use another folder with a smaller learning_rate"
        )
    return summary
