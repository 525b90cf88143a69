"""The unit of an edit run: one shard, from image files to edited files and one row per (image, edit)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from prefect import task
from torch import Tensor

from storage.images import encode_image
from storage.metrics import write_shard
from storage.plan import PlannedImage
from storage.uris import join
from styleclip.bundle import Bundle
from tasks.decoding import Decoded, decode, to_bytes, to_device
from tasks.edits import CompiledEdit, compile_edits
from tasks.measuring import edit_measures, inversion_measures, see
from tasks.models import bundle
from tasks.planning import EditJob, check_can_invert, plan_of, run_id
from tasks.retrying import RETRIES, RETRY_SECONDS, worth_another_try
from tasks.stopwatch import Stopwatch

WRITERS = 4
"""Threads per task that compress PNG files."""


@dataclass
class Batch:
    """What one batch gave: positions in the shard; name of a picture folder → uint8 [n, H, W, 3] on the device;
    `shared` measures of the inversion and `measures` of each edit, each a tensor [n] on the device."""

    positions: list[int]
    pictures: dict[str, Tensor]
    shared: dict[str, Tensor]
    measures: list[dict[str, Tensor]]


@torch.inference_mode()
def edit_batch(
    models: Bundle,
    edits: list[CompiledEdit],
    images: np.ndarray,
    positions: list[int],
    job: EditJob,
    watch: Stopwatch,
) -> Batch:
    """Invert and edit images uint8 [n, H, W, 3]; nothing leaves the device before the batch is done."""
    encoder = check_can_invert(models)
    pictures: dict[str, Tensor] = {}
    with watch.time("invert"):
        source = to_device(images, models.device)
        s = models.generator.styles(encoder(source))
        reconstruction = models.generator.synthesize(s)
    with watch.time("metrics"):
        seen_source, seen = see(models, source), see(models, reconstruction)
        shared = inversion_measures(seen_source, seen)
    if job.save_source:
        pictures["source"] = to_bytes(source)
    if job.save_reconstruction:
        pictures["reconstruction"] = to_bytes(reconstruction)
    measures = []
    for edit in edits:
        with watch.time("edit"):
            edited = models.generator.synthesize(s + edit.shift)
            pictures[edit.words["name"]] = to_bytes(edited)
        with watch.time("metrics"):
            measures.append(edit_measures(seen, see(models, edited), edit))
    return Batch(positions, pictures, shared, measures)


@task(
    name="edit shard",
    task_run_name="shard {shard}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
def edit_shard(job: EditJob, shard: int) -> dict[str, int]:
    """Edit the images of one shard; its Parquet file, written last, is the commit. {shard, ok, failed} rows."""
    plan = plan_of(job.output)
    models = bundle(job.bundle, job.device)
    edits = compile_edits(job.bundle, job.device, job.directions, [dict(edit) for edit in plan.edits])
    watch = Stopwatch(models.device)
    images = plan.shards[shard]
    with watch.time("decode"):
        decoded = decode([image.path for image in images], models.image_size)
    with ThreadPoolExecutor(WRITERS) as writers:
        batches, written = [], []
        for first in range(0, len(decoded.positions), job.batch):
            part = slice(first, first + job.batch)
            batch = edit_batch(models, edits, decoded.images[part], decoded.positions[part], job, watch)
            with watch.time("write"):
                written += _write_pictures(batch, [image.id for image in images], job.output, writers)
            batches.append(batch)
        with watch.time("write"):
            for picture in written:
                picture.result()
    rows = _rows(job, images, edits, decoded, batches, watch)
    write_shard(job.output, "edit", run_id(plan), shard, rows)
    failed = sum(row["status"] == "failed" for row in rows)
    return {"shard": shard, "ok": len(rows) - failed, "failed": failed}


def _write_pictures(
    batch: Batch, ids: list[str], output: str, writers: ThreadPoolExecutor
) -> list[Future[None]]:
    """Take the batch's pictures off the device and hand them to the writers."""
    jobs = []
    for folder, pictures in batch.pictures.items():
        for position, picture in zip(batch.positions, pictures.cpu().numpy(), strict=True):
            jobs.append(
                writers.submit(encode_image, picture, join(output, "images", folder, f"{ids[position]}.png"))
            )
    batch.pictures.clear()
    return jobs


def _rows(
    job: EditJob,
    images: Sequence[PlannedImage],
    edits: list[CompiledEdit],
    decoded: Decoded,
    batches: list[Batch],
    watch: Stopwatch,
) -> list[dict[str, Any]]:
    """One row per (image, edit), in the order of the plan."""
    common = {"seed": job.seed, "bundle": job.bundle, "package_version": version("styleclip-flows")}
    common |= watch.per(len(images), "decode", "invert")
    common |= watch.per(len(images) * len(edits), "edit", "metrics", "write")
    rows: list[list[dict[str, Any]]] = []
    for position, image in enumerate(images):
        of_image = {"image_id": image.id, "path": image.path, "input_hash": image.hash} | common
        if failure := decoded.failures.get(position):
            of_image |= {"status": "failed", "error_class": failure.error_class, "reason": failure.reason}
        else:
            of_image["status"] = "ok"
        rows.append([of_image | _words(edit) for edit in edits])
    for batch in batches:
        names = [*batch.shared, *batch.measures[0]]
        # one transfer per batch: [edits, measures, n]
        table = torch.stack(
            [torch.stack([*batch.shared.values(), *m.values()]) for m in batch.measures]
        ).cpu()
        for number, of_edit in enumerate(table.tolist()):
            for place, position in enumerate(batch.positions):
                row = rows[position][number]
                row.update({name: values[place] for name, values in zip(names, of_edit, strict=True)})
                row["output"] = f"images/{row['edit']}/{row['image_id']}.png"
    return [row for of_image in rows for row in of_image]


def _words(edit: CompiledEdit) -> dict[str, Any]:
    words = {name: edit.words[name] for name in ("method", "neutral", "target", "alpha")}
    return words | {
        "edit": edit.words["name"],
        "beta": edit.beta,
        "channels_used": edit.channels_used,
        "delta_norm": float(edit.shift.norm()),
    }
