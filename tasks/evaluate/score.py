"""One edit of the embedded world, from choosing its strength to its scores."""

from __future__ import annotations

import difflib
import functools
import threading

import torch
from prefect import task

from avatars.judging.evaluation import (
    CHOOSE_SEED,
    SCORE_SEED,
    Evaluation,
    Pictures,
    Score,
    Strength,
    editable,
    held_out,
)
from avatars.judging.judges import load_judge
from avatars.world.attributes import STATEMENT
from storage.images import encode_image
from storage.uris import join
from styleclip.errors import EditError
from styleclip.precision import computing_in
from tasks.jobs import EvaluateJob
from tasks.process.limits import device_limit
from tasks.process.models import bundle, directions, store_of
from tasks.process.sheets import strip

STRIP = 8
_PREPARING = threading.Lock()


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
def evaluate_edit(job: EvaluateJob, edit: str, method: str, strength: Strength | None = None) -> Score:
    """Choose α and the channel count on one set of avatars (unless given), score on another.

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
    strength = strength or evaluation.choose(edit, choose_on, method)
    score = evaluation.score(edit, strength, score_on, method)
    rows = torch.nonzero(editable(STATEMENT[edit], score_on.quantities))[:STRIP, 0]
    before = score_on.reconstruction[rows]
    after = evaluation.draw(
        score_on.styles[rows], evaluation.direction(edit, strength.channels, method), strength.alpha
    )
    encode_image(
        strip([before, after]).numpy(), join(job.output, "strips", method, f"{edit.replace(' ', '-')}.png")
    )
    return score
