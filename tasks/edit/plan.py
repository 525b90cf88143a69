"""The plan of an edit run: everything is checked and written before the first image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import task

from storage.calls import keep_call
from storage.growth import Wanted, keep_plan
from styleclip.bundles.load import read_bundle
from styleclip.edits import Edit, GlobalEdit
from tasks.edit.compile import compile_edits
from tasks.inputs.align import alignment_of
from tasks.inputs.images_or_codes import code_hashes, file_hashes, is_latents, list_codes, list_folder
from tasks.jobs import EditJob
from tasks.process.models import bundle
from tasks.process.plans import fingerprint_of, settings_of


@dataclass(frozen=True)
class Planned:
    """A written plan: `missing` are the shards that no run has finished yet, `skipped` files are no images by name.

    changes: what this generation of the run has in it, how many images new, changed, removed, done again (same);
    unknown_words: words of the edits that the CLIP was never trained on.
    """

    images: int
    shards: int
    missing: list[int]
    skipped: int
    generation: int
    changes: Mapping[str, int]
    unknown_words: list[str]


def neutral_words(name: str) -> str:
    """What the images of a bundle show before any edit, in words; reads no weights."""
    return read_bundle(name).neutral


@task(name="plan", task_run_name="plan {job.output}")
def plan_edits(job: EditJob, edits: list[Edit]) -> Planned:
    """Check everything that can be checked before the first image, then write the plan, find it unchanged, or let the
    run grow by what is new (`storage.growth.keep_plan`).

    Raises StorageError for an empty folder, BundleError, PromptError and EditError for edits that cannot be done,
    AlignmentError for an alignment that cannot be, PlanMismatch when the output folder belongs to another run.
    """
    skipped = 0
    if from_latents := is_latents(job.images):
        models = bundle(job.bundle, job.device)
        images, root = (
            list_codes(job.images, models, job.align, job.refine_steps, job.save_source),
            job.images,
        )
    else:
        folder, images = list_folder(job.images, job.align, job.landmarks, job.output)
        models = bundle(job.bundle, job.device)
        models.need_encoder()
        root, skipped = folder.root, folder.skipped
    compiled = compile_edits(job.bundle, job.device, job.directions, edits)
    fingerprint: dict[str, Any] = {
        **fingerprint_of("edit", models, job.precision),
        **settings_of(models),
        "seed": job.seed,
        "save_source": job.save_source,
        "save_reconstruction": job.save_reconstruction,
        "from_latents": from_latents,
        "refine_steps": job.refine_steps,
        **alignment_of(job.align, models),
        "edits": {edit.edit.name: dict(edit.fingerprint) for edit in compiled},
    }
    # the plan holds what was chosen for the user, so that no shard chooses again
    settled = [
        each.edit if isinstance(each.edit, GlobalEdit) else edit
        for each, edit in zip(compiled, edits, strict=True)
    ]
    wanted = Wanted(
        images, root, tuple(edit.to_plan() for edit in settled), job.shard_size, fingerprint,
        lambda ids, names: code_hashes(root, ids) if from_latents else file_hashes(root, names),
    )  # fmt: skip
    kept = keep_plan(job.output, wanted, retry_failed=job.retry_failed, strict=job.strict)
    keep_call(job.output, "edit", vars(job))
    plan = kept.generation
    return Planned(
        images=plan.images,
        shards=kept.shards,
        missing=kept.missing,
        skipped=skipped,
        generation=plan.number,
        changes=plan.changes,
        unknown_words=sorted({word for edit in compiled for word in edit.wording.unknown_words}),
    )
