"""One edit of the embedded world, from choosing its strength to its scores."""

from __future__ import annotations

import difflib
import functools
import threading
from typing import Literal

from prefect import task

from avatars.judging.evaluation import (
    CHOOSE_SEED,
    Evaluation,
    Pictures,
    Score,
    Strength,
    editable_by,
    held_out,
)
from avatars.judging.judges import load_judge
from avatars.world.attributes import STATEMENT
from avatars.world.phrases import PHRASES, said
from storage.images import encode_image
from storage.uris import join
from styleclip.errors import EditError
from styleclip.precision import computing_in
from tasks.jobs import EvaluateJob
from tasks.process.limits import device_limit
from tasks.process.models import bundle, directions, setting, store_of
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
        held_out(models, scorer, job.images, job.seed),
    )


@task(name="evaluate edit", task_run_name="{method}: {edit}")
@device_limit()
@computing_in("float32")
def evaluate_edit(
    job: EvaluateJob, edit: str, method: str, strength: Strength | Literal["auto", "chosen"] = "auto"
) -> Score:
    """Score one edit on held-out avatars: by its words alone ("auto"), at a given strength, or ("chosen") at one that
    is chosen on other avatars by another judge.

    Also writes a strip of before/after pictures to OUTPUT/strips/METHOD/EDIT.png.
    """
    if edit not in STATEMENT and (edit not in PHRASES or strength != "auto"):
        near = difflib.get_close_matches(edit, STATEMENT, n=1)
        raise EditError(
            f"nothing can be said of avatars in the words '{edit}'"
            + (f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(STATEMENT)}")
        )
    with _PREPARING:
        evaluation, choose_on, score_on = _prepare(job)
    if strength == "auto":
        edits_with = setting(job.bundle, job.device, job.directions)
        score, after = evaluation.score_words(edit, edits_with, score_on, method)
    else:
        strength = evaluation.choose(edit, choose_on, method) if strength == "chosen" else strength
        score, after = evaluation.score(edit, strength, score_on, method)
    before = score_on.reconstruction[editable_by(said(edit)[1], score_on.quantities)][:STRIP]
    after = after[:STRIP]
    encode_image(
        strip([before, after]).numpy(), join(job.output, "strips", method, f"{edit.replace(' ', '-')}.png")
    )
    return score
