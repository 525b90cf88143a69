"""The units of an invert run: the plan, and one shard of images into rows of the latent store."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from prefect import task

from storage.calls import keep_call
from storage.errors import Failure, PlanMismatch, StoreExists
from storage.growth import Wanted, keep_plan
from storage.images import encode_image
from storage.known import by_content
from storage.latents import LatentStore
from storage.metrics import write_shard
from storage.plan import generations_of, images_of, shard_of
from storage.uris import join
from styleclip.bundles.load import Bundle
from styleclip.encode import invert_images
from styleclip.methods.measures import inversion_measures, see
from styleclip.passes import pass_size
from styleclip.pixels import from_bytes, to_bytes
from styleclip.precision import computing_in
from tasks.inputs.align import alignment_of
from tasks.inputs.images_or_codes import file_hashes, list_folder, opened, take_in
from tasks.jobs import InvertJob
from tasks.process.labels import Labels, mark_rows
from tasks.process.limits import device_limit
from tasks.process.memory import Halving
from tasks.process.models import bundle
from tasks.process.plans import (
    ShardDone,
    fingerprint_of,
    look,
    missing_shards,
    package_version,
    plan_of,
    shard_ids,
    try_image,
)
from tasks.process.stopwatch import Stopwatch
from tasks.process.units import Split, Unit

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
    folder, images = list_folder(job.images, job.align, job.landmarks, job.output)
    models = bundle(job.bundle, job.device)
    models.need_encoder()
    fingerprint = {
        **fingerprint_of("invert", models, job.precision),
        "save_reconstruction": job.save_reconstruction,
        "refine_steps": job.refine_steps,
        **alignment_of(job.align, models),
    }
    wanted = Wanted(
        images, folder.root, ({"name": ROW_NAME},), job.shard_size, fingerprint,
        lambda _, names: file_hashes(folder.root, names),
    )  # fmt: skip
    kept = keep_plan(job.output, wanted, retry_failed=job.retry_failed, strict=job.strict)
    keep_call(job.output, "invert", vars(job))
    keep_store(job, models)
    missing = unfinished(job.latents, kept.generation.run_id, kept.missing)
    return PlannedInversion(len({*kept.finished, *missing}), missing, folder.skipped)


def keep_store(job: InvertJob, models: Bundle) -> None:
    """Make the store of a run, or give it room for the images of its later generations."""
    generations = generations_of(job.output)
    parts: list[tuple[int, list[str]]] = []
    there: dict[str, bool] = {}
    for generation in generations:
        table = images_of(job.output, generation).columns(["id", "change", "work"])
        ids = table["id"].to_pylist()
        there |= zip(ids, pc.not_equal(table["change"], "removed").to_pylist(), strict=True)
        if worked := [id_ for id_, work in zip(ids, table["work"].to_pylist(), strict=True) if work >= 0]:
            parts.append((generation.first_shard, worked))
    first, encoder = generations[0], models.need_encoder()
    if not LatentStore.exists(job.latents):
        attrs = {"bundle": models.name, "weights": dict(models.fingerprint), "run": first.run_id}
        with suppress(StoreExists):  # another process that began with us was faster
            LatentStore.create(
                job.latents, parts[0][1], encoder.num_ws, encoder.w_dim, attrs, first.shard_size
            )
    store = LatentStore.open(job.latents)
    if store.attrs.get("run") == first.run_id:
        store.grow_to(parts, [id_ for id_, present in there.items() if not present])


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


@device_limit()
def invert_shard(
    job: InvertJob, shard: int, lost: Mapping[int, Failure] | None = None, commit: bool = True
) -> ShardDone:
    """Codes of one shard's images; its Parquet file, written last, is the commit.

    `lost`: images, by position, that are not to be touched, and why; their rows are failed. Without `commit` all is
    done but the last step, to see whether the process survives it.
    """
    planned = shard_of(job.output, shard)
    files = by_content(job.output, "invert", planned.run_id, shard, planned.images)
    models = bundle(job.bundle, job.device)
    encoder = models.need_encoder()
    watch = Stopwatch(models.device)
    with watch.time("decode"):
        images, decoded = take_in(job, planned.images, files, models, lost)
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
    done = ShardDone(shard, ok=int(ok.sum()), failed=int((~ok).sum()))
    if not commit:
        return done
    opened(job.latents).write_shard(shard, codes, ok)
    common: dict[str, Any] = {
        "edit": ROW_NAME,
        "bundle": job.bundle,
        "package_version": package_version(),
        "seed": job.seed,
        "generation": planned.generation,
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
    write_shard(job.output, "invert", planned.run_id, shard, rows)
    return done


def missing_inversions(job: InvertJob) -> list[int]:
    """Shards without a commit, or without their codes."""
    return unfinished(job.latents, plan_of(job.output).run_id, missing_shards(job.output, "invert"))


INVERT = Unit(
    name="invert shard",
    noun="shard",
    work=invert_shard,
    sight=look,
    missing=missing_inversions,
    split=Split(shard_ids, functools.partial(try_image, invert_shard), invert_shard),
)


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
