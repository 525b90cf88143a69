"""The immutable plan of a run: what will be done, under which fingerprint, and what is left of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from prefect import task

from storage.datasets import ImageFolder, content_hash
from storage.errors import StoreCorrupt
from storage.failures import Failures, failures_of
from storage.landmarks import keep_landmarks
from storage.metrics import finished_shards
from storage.plan import PlannedImage, RunPlan, keep_plan, load_plan
from styleclip.bundles.load import Bundle, read_bundle
from styleclip.edits import Edit
from styleclip.precision import Precision
from tasks.edit.compile import compile_edits
from tasks.inputs.align import Align, alignment_of
from tasks.inputs.images_or_codes import is_latents, list_codes, list_folder
from tasks.process.models import bundle

HASHERS = 8
"""Threads that read files for their hashes: reading waits for disks and networks, not for this processor."""


@dataclass(frozen=True)
class EditJob:
    """What one edit run is asked for; see flows.forms.runs.EditParams for the meanings."""

    bundle: str
    device: str
    seed: int
    images: str
    output: str
    directions: str | None
    shard_size: int
    batch: int
    save_source: bool
    save_reconstruction: bool
    refine_steps: int = 0
    align: Align = "none"
    landmarks: str | None = None
    precision: Precision = "float32"
    retry_failed: bool = False


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


def package_version() -> str:
    """The version of this program."""
    return version("styleclip-flows")


def fingerprint_of(flow: str, models: Bundle, precision: Precision) -> dict[str, Any]:
    """What decides the numbers of every run: the program, its arithmetic, the weights.

    Not the device and not the batch: they change last bits only.
    """
    return {
        "flow": flow,
        "package_version": package_version(),
        "precision": precision,
        "bundle": models.name,
        "weights": dict(models.fingerprint),
    }


def settings_of(models: Bundle) -> dict[str, Any]:
    """What a bundle's file says that decides how words are embedded and how far channels vary."""
    templates = json.dumps(list(models.templates)).encode()
    return {
        "templates": hashlib.sha256(templates).hexdigest()[:16],
        "truncation_psi": models.truncation_psi,
    }


def run_id(plan: RunPlan) -> str:
    """Short name of a run, the same for every attempt at the same plan."""
    return plan.run_id


def plan_of(run_dir: str) -> RunPlan:
    """The plan that a run has written. Raises StoreCorrupt when somebody has taken it away."""
    plan = load_plan(run_dir)
    if plan is None:
        raise StoreCorrupt(
            f"{run_dir}/plan.json is gone: run the same command again, it writes the plan anew"
        )
    return plan


def plan_for(
    folder: ImageFolder, edits: Sequence[Mapping[str, Any]], shard_size: int, fingerprint: Mapping[str, Any]
) -> RunPlan:
    """The plan over a folder: its images with their content hashes."""
    return RunPlan(tuple(hashed(folder)), tuple(edits), shard_size, fingerprint)


def hashed(folder: ImageFolder) -> list[PlannedImage]:
    """The images of a folder with their content hashes."""
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = list(pool.map(content_hash, [ref.path for ref in folder.images]))
    return [PlannedImage(ref.id, ref.path, digest) for ref, digest in zip(folder.images, hashes, strict=True)]


def missing_shards(run_dir: str, flow: str, plan: RunPlan, again: Collection[int] = ()) -> list[int]:
    """Shards without a commit, and those to do again, in order."""
    return sorted(set(range(len(plan.shards))) - finished_shards(run_dir, flow, run_id(plan)) | set(again))


def to_retry(run_dir: str, flow: str, wanted: bool) -> Failures:
    """What failed before in a run folder, if it is wanted; nothing in a new folder."""
    plan = load_plan(run_dir) if wanted else None
    return failures_of(run_dir, flow, run_id(plan), plan) if plan else Failures()


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
    plan = RunPlan(tuple(images), tuple(edit.to_plan() for edit in edits), job.shard_size, fingerprint)
    failed = to_retry(job.output, "edit", job.retry_failed)
    keep_plan(job.output, plan, failed.images)
    plan = plan_of(job.output)
    if found is not None:
        keep_landmarks(job.output, found)
    return Planned(
        images=len(plan.images),
        shards=len(plan.shards),
        missing=missing_shards(job.output, "edit", plan, failed.shards),
        skipped=skipped,
        unknown_words=sorted({word for edit in compiled for word in edit.wording.unknown_words}),
    )
