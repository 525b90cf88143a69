"""The units of an invert run: the plan, and one shard of images into rows of the latent store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prefect import task

from storage.calls import keep_call
from storage.datasets import list_images
from storage.errors import Failure, PlanMismatch, StoreExists
from storage.images import encode_image
from storage.landmarks import keep_landmarks
from storage.latents import LatentStore
from storage.metrics import write_shard
from storage.plan import keep_plan
from storage.uris import join
from styleclip.bundles.load import Bundle
from styleclip.encode import invert_images
from styleclip.methods.measures import inversion_measures, see
from styleclip.passes import pass_size
from styleclip.pixels import from_bytes, to_bytes
from styleclip.precision import computing_in
from tasks.inputs.align import alignment_of, faces_in, landmarks_for
from tasks.inputs.decode import decode
from tasks.jobs import InvertJob
from tasks.process.labels import Labels, mark_rows
from tasks.process.limits import device_limit
from tasks.process.memory import Halving
from tasks.process.models import bundle
from tasks.process.plans import (
    ShardDone,
    fingerprint_of,
    missing_shards,
    package_version,
    plan_for,
    plan_of,
    to_retry,
)
from tasks.process.retries import RETRIES, RETRY_SECONDS, worth_another_try
from tasks.process.stopwatch import Stopwatch

NOT_FINITE = Failure("NotFinite", "its code holds numbers that are none: are the encoder's weights sound?")
ROW_NAME = "inversion"
"""What stands in the rows' edit column: an inversion is the edit that changes nothing."""


@dataclass(frozen=True)
class PlannedInversion:
    """A written plan: `missing` are the unfinished shards, `skipped` files are no images by name."""

    shards: int
    missing: list[int]
    skipped: int


@task(name="plan", task_run_name="plan {job.output}")
def plan_inversion(job: InvertJob) -> PlannedInversion:
    """Write the plan and the empty store, or find them unchanged.

    Raises StorageError for an empty folder or one without landmarks, AlignmentError for an alignment that cannot be
    done, BundleError for a bundle without encoder, PlanMismatch when the output folder belongs to another run.
    """
    folder = list_images(job.images, job.output)
    found = landmarks_for(job.align, job.landmarks, job.images, folder)
    models = bundle(job.bundle, job.device)
    encoder = models.need_encoder()
    fingerprint = {
        **fingerprint_of("invert", models, job.precision),
        "save_reconstruction": job.save_reconstruction,
        "refine_steps": job.refine_steps,
        **alignment_of(job.align, found, models),
    }
    plan = plan_for(folder, [], job.shard_size, fingerprint)
    failed = to_retry(job.output, "invert", job.retry_failed)
    keep_plan(job.output, plan, failed.images)
    plan = plan_of(job.output)
    keep_call(job.output, "invert", vars(job))
    if found is not None:
        keep_landmarks(job.output, found)
    if not LatentStore.exists(job.latents):
        with suppress(StoreExists):  # another process that began with us was faster
            LatentStore.create(
                job.latents,
                [image.id for image in plan.images],
                encoder.num_ws,
                encoder.w_dim,
                {"bundle": models.name, "weights": dict(models.fingerprint), "run": plan.run_id},
                job.shard_size,
            )
    missing = unfinished(job.latents, plan.run_id, missing_shards(job.output, "invert", plan, failed.shards))
    return PlannedInversion(len(plan.shards), missing, folder.skipped)


def unfinished(latents: str, run: str, missing: list[int]) -> list[int]:
    """Shards that lack their commit or their codes: a store that was deleted, or made anew, has none.

    Raises PlanMismatch for a store of another run, whose codes would get these images' ids.
    """
    store = LatentStore.open(latents)
    if store.attrs.get("run") != run:
        raise PlanMismatch(
            f"{latents} holds the codes of another run: delete it, or choose another output folder"
        )
    return sorted({*missing, *store.missing_shards()})


@task(
    name="invert shard",
    task_run_name="shard {shard}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
@device_limit()
def invert_shard(job: InvertJob, shard: int) -> ShardDone:
    """Codes of one shard's images; its Parquet file, written last, is the commit."""
    plan = plan_of(job.output)
    models = bundle(job.bundle, job.device)
    encoder = models.need_encoder()
    images = plan.shards[shard]
    watch = Stopwatch(models.device)
    with watch.time("decode"):
        faces = faces_in(job.output, job.align, [image.id for image in images], models)
        hashes = [image.hash for image in images]
        decoded = decode([image.path for image in images], models.image_size, faces, hashes)
    codes = np.zeros((len(images), encoder.num_ws, encoder.w_dim), np.float32)
    failures = dict(decoded.failures)
    measures: dict[int, dict[str, float]] = {}
    labels, digests = Labels(models.name, images, decoded.markings), dict[str, str]()
    batches = Halving(job.batch, pass_size(models.generator))

    def work(part: slice) -> Inverted:
        with computing_in(job.precision):
            return _invert(job, models, decoded.images[part], batches.halvings, watch)

    for part, outcome in batches.over(len(decoded.positions), work):
        positions = decoded.positions[part]
        if isinstance(outcome, Failure):
            failures[positions[0]] = outcome
            continue
        codes[positions] = outcome.codes
        for place, position in enumerate(positions):
            if not np.isfinite(outcome.codes[place]).all():
                failures[position] = NOT_FINITE
            measures[position] = {name: values[place] for name, values in outcome.measures.items()}
        if job.save_reconstruction:
            with watch.time("write"):
                for position, picture in zip(positions, outcome.pictures, strict=True):
                    if position in failures:
                        continue
                    uri = join(job.output, "images", "reconstruction", f"{images[position].id}.png")
                    digests[uri] = encode_image(picture, uri, labels.reconstruction(position))
    ok = np.array([position not in failures for position in range(len(images))])
    LatentStore.open(job.latents).write_shard(shard, codes, ok)
    common: dict[str, Any] = {
        "edit": ROW_NAME,
        "bundle": job.bundle,
        "package_version": package_version(),
        "seed": job.seed,
    }
    common |= watch.per(len(images))
    if job.refine_steps:
        common["steps"] = job.refine_steps
    rows: list[dict[str, Any]] = []
    for position, image in enumerate(images):
        row = common | {"image_id": image.id, "path": image.path, "input_hash": image.hash}
        if failure := failures.get(position):
            row |= {"status": "failed", "error_class": failure.error_class, "reason": failure.reason}
        else:
            row |= {"status": "ok"} | measures[position]
        rows.append(row)
    mark_rows(rows, job.output, images, decoded.markings, digests)
    write_shard(job.output, "invert", plan.run_id, shard, rows)
    return ShardDone(shard, ok=int(ok.sum()), failed=int((~ok).sum()))


@dataclass(frozen=True)
class Inverted:
    """What one batch gave: codes [n, num_ws, w_dim], reconstructions uint8 [n, H, W, 3], measures, each of n."""

    codes: np.ndarray
    pictures: np.ndarray
    measures: dict[str, list[float]]


@torch.inference_mode()
def _invert(job: InvertJob, models: Bundle, images: np.ndarray, halvings: int, watch: Stopwatch) -> Inverted:
    with watch.time("invert"):
        source = from_bytes(images, models.device)
        w = invert_images(models, source, job.refine_steps, halvings)
    with watch.time("metrics"):
        reconstruction = models.generator.synthesize(models.generator.styles(w))
        found = inversion_measures(see(models, source), see(models, reconstruction))
    return Inverted(
        w.cpu().numpy(),
        to_bytes(reconstruction).cpu().numpy(),
        {name: values.tolist() for name, values in found.items()},
    )
