"""One edit of the embedded world, from choosing its strength to its scores."""

from __future__ import annotations

import difflib
import functools
import threading
from dataclasses import dataclass
from typing import Any

import torch
from prefect import task

from avatars.judging.evaluation import (
    CHOOSE_SEED,
    SCORE_SEED,
    Evaluation,
    Pictures,
    Strength,
    editable,
    held_out,
)
from avatars.judging.judges import load_judge
from avatars.world.attributes import STATEMENT
from storage.images import encode_image
from storage.uris import join
from styleclip.errors import EditError
from styleclip.pixels import to_bytes
from styleclip.precision import computing_in
from tasks.process.limits import device_limit
from tasks.process.models import bundle, directions, store_of

STRIP = 8
_PREPARING = threading.Lock()


@dataclass(frozen=True)
class EvaluateJob:
    """What one evaluation is asked for; see flows.forms.runs.EvaluateParams for the meanings."""

    bundle: str
    device: str
    directions: str | None
    output: str
    images: int
    choose_images: int


@functools.cache
def _prepare(job: EvaluateJob) -> tuple[Evaluation, Pictures, Pictures]:
    models = bundle(job.bundle, job.device)
    models.need_encoder()
    store = directions(store_of(job.bundle, job.device, job.directions), job.bundle, job.device)
    chooser, scorer = (load_judge(role, device=models.device) for role in ("chooser", "scorer"))
    evaluation = Evaluation(models, store.directions, store.std, store.magnitude, chooser, scorer)
    return (
        evaluation,
        held_out(models, chooser, job.choose_images, CHOOSE_SEED),
        held_out(models, scorer, job.images, SCORE_SEED),
    )


@task(name="evaluate edit", task_run_name="{method}: {edit}")
@device_limit()
@computing_in("float32")
def evaluate_edit(
    job: EvaluateJob, edit: str, method: str, alpha: float = 0.0, channels: int = 0
) -> dict[str, Any]:
    """Choose α and the channel count on one set of avatars (unless given), score on another; the scores as a row.

    Also writes a strip of before/after pictures to OUTPUT/strips/METHOD/EDIT.png.
    """
    if edit not in STATEMENT:
        near = difflib.get_close_matches(edit, STATEMENT, n=1)
        raise EditError(
            f"nothing can be said of avatars in the words '{edit}'"
            + (f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(STATEMENT)}")
        )
    with _PREPARING:
        evaluation, choose_on, score_on = _prepare(job)
    strength = Strength(alpha, channels) if alpha and channels else evaluation.choose(edit, choose_on, method)
    score = evaluation.score(edit, strength, score_on, method)
    rows = torch.nonzero(editable(STATEMENT[edit], score_on.quantities))[:STRIP, 0]
    before = score_on.reconstruction[rows]
    after = evaluation.draw(
        score_on.styles[rows], evaluation.direction(edit, strength.channels, method), strength.alpha
    )
    strip = torch.cat([torch.cat(list(to_bytes(part)), dim=1) for part in (before, after)])
    encode_image(strip.cpu().numpy(), join(job.output, "strips", method, f"{edit.replace(' ', '-')}.png"))
    return score.to_row()
