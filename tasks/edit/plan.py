"""The plan of an edit run: everything is checked and written before the first image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import task

from storage.calls import keep_call
from storage.landmarks import keep_landmarks
from storage.plan import RunPlan, keep_plan
from styleclip.bundles.load import read_bundle
from styleclip.edits import Edit, GlobalEdit
from tasks.edit.compile import compile_edits
from tasks.inputs.align import alignment_of
from tasks.inputs.images_or_codes import is_latents, list_codes, list_folder
from tasks.jobs import EditJob
from tasks.process.models import bundle
from tasks.process.plans import fingerprint_of, hashed, missing_shards, plan_of, settings_of, to_retry


@dataclass(frozen=True)
class Planned:
    """A written plan: `missing` are the shards that no run has finished yet, `skipped` files are no images by name.

    unknown_words: words of the edits that the CLIP was never trained on.
    """

    images: int
    shards: int
    missing: list[int]
    skipped: int
    unknown_words: list[str]


def neutral_words(name: str) -> str:
    """What the images of a bundle show before any edit, in words; reads no weights."""
    return read_bundle(name).neutral


@task(name="plan", task_run_name="plan {job.output}")
def plan_edits(job: EditJob, edits: list[Edit]) -> Planned:
    """Check everything that can be checked before the first image, then write the plan or find it unchanged.

    Raises StorageError for an empty folder, BundleError, PromptError and EditError for edits that cannot be done,
    AlignmentError for an alignment that cannot be, PlanMismatch when the output folder belongs to another run.
    """
    found, skipped = None, 0
    if from_latents := is_latents(job.images):
        models = bundle(job.bundle, job.device)
        images = list_codes(job.images, models, job.align, job.refine_steps, job.save_source)
    else:
        folder, found = list_folder(job.images, job.align, job.landmarks, job.output)
        models = bundle(job.bundle, job.device)
        models.need_encoder()
        images, skipped = hashed(folder), folder.skipped
    compiled = compile_edits(job.bundle, job.device, job.directions, edits)
    fingerprint: dict[str, Any] = {
        **fingerprint_of("edit", models, job.precision),
        **settings_of(models),
        "seed": job.seed,
        "save_source": job.save_source,
        "save_reconstruction": job.save_reconstruction,
        "from_latents": from_latents,
        "refine_steps": job.refine_steps,
        **alignment_of(job.align, found, models),
        "edits": {edit.edit.name: dict(edit.fingerprint) for edit in compiled},
    }
    # the plan holds what was chosen for the user, so that no shard chooses again
    settled = [
        each.edit if isinstance(each.edit, GlobalEdit) else edit
        for each, edit in zip(compiled, edits, strict=True)
    ]
    plan = RunPlan(tuple(images), tuple(edit.to_plan() for edit in settled), job.shard_size, fingerprint)
    failed = to_retry(job.output, "edit", job.retry_failed)
    keep_plan(job.output, plan, failed.images)
    plan = plan_of(job.output)
    keep_call(job.output, "edit", vars(job))
    if found is not None:
        keep_landmarks(job.output, found)
    return Planned(
        images=len(plan.images),
        shards=len(plan.shards),
        missing=missing_shards(job.output, "edit", plan, failed.shards),
        skipped=skipped,
        unknown_words=sorted({word for edit in compiled for word in edit.wording.unknown_words}),
    )
