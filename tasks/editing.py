"""The unit of an edit run: one shard, from image files to edited files and one row per (image, edit)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from prefect import task
from torch import Tensor

from storage.curves import write_curves
from storage.images import encode_image
from storage.metrics import write_shard
from storage.uris import join
from styleclip.bundle import Bundle
from styleclip.passes import pass_size
from tasks.decoding import Failure, to_bytes, to_device
from tasks.edits import compile_edits
from tasks.encoding import invert_images
from tasks.halving import Halving
from tasks.inputs import read_inputs
from tasks.limits import device_limit
from tasks.measuring import edit_measures, inversion_measures, see
from tasks.methods import CompiledEdit, Edited, InvertedBatch
from tasks.models import bundle
from tasks.planning import EditJob, plan_of, run_id
from tasks.retrying import RETRIES, RETRY_SECONDS, worth_another_try
from tasks.rows import curve_frame, edit_rows
from tasks.stopwatch import Stopwatch

WRITERS = 4
"""Threads per task that compress PNG files."""


@dataclass(frozen=True)
class EditedPart:
    """One edit on some images of a shard: their positions, and measures [n] of `edited`; all on the device.

    batch: how many images may be on the device at once, after what was learnt about its memory.
    """

    positions: list[int]
    edited: Edited
    measures: dict[str, Tensor]
    batch: int


@dataclass
class Batch:
    """What one batch gave: positions in the shard; name of a picture folder → uint8 [n, H, W, 3] on the device;
    `shared` measures of the inversion, each [n]; per edit the parts that its images were done in, and by position
    why one could not be done."""

    positions: list[int]
    pictures: dict[str, Tensor]
    shared: dict[str, Tensor]
    parts: list[list[EditedPart]] = field(default_factory=list)
    failures: list[dict[int, Failure]] = field(default_factory=list)


class Sizes:
    """Batch sizes of one shard: each edit has its own, because methods differ in the memory that they need."""

    def __init__(self, batch: int, edits: int, passes: int) -> None:
        self.inversion = Halving(batch, passes)
        self.edits = [Halving(batch, passes) for _ in range(edits)]


@torch.inference_mode()
def edit_batch(
    models: Bundle,
    edits: Sequence[CompiledEdit],
    inputs: np.ndarray,
    positions: list[int],
    job: EditJob,
    watch: Stopwatch,
    sizes: Sizes,
) -> Batch:
    """Invert images and make every edit; nothing leaves the device before the batch is done.

    inputs: images uint8 [n, H, W, 3], or latent codes float32 [n, num_ws, w_dim] of images inverted before.
    """
    pictures: dict[str, Tensor] = {}
    source = None
    with watch.time("invert"):
        if inputs.ndim == 3:
            w = torch.from_numpy(inputs).to(models.device)
        else:
            source = to_device(inputs, models.device)
            w = invert_images(models, source, job.refine_steps, sizes.inversion.halvings)
        s = models.generator.styles(w)
        reconstruction = models.generator.synthesize(s)
    with watch.time("metrics"):
        seen = see(models, reconstruction)
        shared = {} if source is None else inversion_measures(see(models, source), seen)
        batch = Batch(positions, pictures, shared)
    if job.save_source and source is not None:
        pictures["source"] = to_bytes(source)
    if job.save_reconstruction:
        pictures["reconstruction"] = to_bytes(reconstruction)
    inverted = InvertedBatch(w, s, seen)
    for number, edit in enumerate(edits):
        _apply(models, edit, inverted, batch, watch, sizes, number)
    return batch


def _apply(
    models: Bundle,
    edit: CompiledEdit,
    inverted: InvertedBatch,
    batch: Batch,
    watch: Stopwatch,
    sizes: Sizes,
    number: int,
) -> None:
    """One edit on a batch, in as many parts as the memory asks for."""
    size = sizes.edits[number]

    def work(rows: slice) -> EditedPart:
        part = inverted.part(rows, size.halvings)
        with watch.time(f"edit/{edit.words['name']}"):
            edited = edit.apply(models, part)
        with watch.time("metrics"):
            measures = edit_measures(part.seen, see(models, edited.images), edit.wording)
            measures["delta_norm"] = (edited.styles - part.s).norm(dim=1)
        limit = min(sizes.inversion.size, size.size)
        return EditedPart(batch.positions[rows], edited, measures | dict(edited.measures), limit)

    parts, failures = [], {}
    for rows, outcome in size.over(len(inverted), work):
        if isinstance(outcome, Failure):
            failures[batch.positions[rows.start]] = outcome
            continue
        parts.append(outcome)
        failures |= {outcome.positions[place]: why for place, why in outcome.edited.failures.items()}
    batch.parts.append(parts)
    batch.failures.append(failures)


@task(
    name="edit shard",
    task_run_name="shard {shard}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
@device_limit()
def edit_shard(job: EditJob, shard: int) -> dict[str, int]:
    """Edit the images of one shard; its Parquet file, written last, is the commit. {shard, ok, failed} rows."""
    plan = plan_of(job.output)
    models = bundle(job.bundle, job.device)
    edits = compile_edits(job.bundle, job.device, job.directions, plan.edits)
    watch = Stopwatch(models.device)
    images = plan.shards[shard]
    ids = [image.id for image in images]
    with watch.time("decode"):
        decoded = read_inputs(job.images, job.output, job.align, images, models)
    sizes = Sizes(job.batch, len(edits), pass_size(models.generator))

    def work(part: slice) -> Batch:
        return edit_batch(models, edits, decoded.images[part], decoded.positions[part], job, watch, sizes)

    failures = dict(decoded.failures)
    batches: list[Batch] = []
    with ThreadPoolExecutor(WRITERS) as writers:
        written: list[Future[None]] = []
        for part, batch in sizes.inversion.over(len(decoded.positions), work):
            if isinstance(batch, Failure):
                failures[decoded.positions[part.start]] = batch
                continue
            with watch.time("write"):
                written += _write_pictures(batch, edits, ids, job.output, writers)
            batches.append(batch)
        with watch.time("write"):
            for picture in written:
                picture.result()
    rows = edit_rows(job, images, edits, failures, batches, watch)
    curves = curve_frame(edits, batches, ids)
    if len(curves):
        write_curves(job.output, "edit", f"shard-{shard:05d}", curves)
    write_shard(job.output, "edit", run_id(plan), shard, rows)
    failed = sum(row["status"] == "failed" for row in rows)
    return {"shard": shard, "ok": len(rows) - failed, "failed": failed}


def _write_pictures(
    batch: Batch, edits: Sequence[CompiledEdit], ids: list[str], output: str, writers: ThreadPoolExecutor
) -> list[Future[None]]:
    """Take the batch's pictures off the device and hand them to the writers; pictures of failures are left out."""
    jobs: list[Future[None]] = []

    def write(pictures: Tensor, names: Sequence[str | None]) -> None:
        for name, picture in zip(names, pictures.cpu().numpy(), strict=True):
            if name is not None:
                jobs.append(writers.submit(encode_image, picture, join(output, name)))

    for folder, pictures in batch.pictures.items():
        write(pictures, [f"images/{folder}/{ids[position]}.png" for position in batch.positions])
    batch.pictures.clear()
    for edit, parts, failures in zip(edits, batch.parts, batch.failures, strict=True):
        name = edit.words["name"]
        for part in parts:
            kept = [None if position in failures else ids[position] for position in part.positions]
            write(to_bytes(part.edited.images), [id_ and f"images/{name}/{id_}.png" for id_ in kept])
            for step, pictures in part.edited.stages.items():
                write(pictures, [id_ and f"steps/{name}/{id_}/{step:04d}.png" for id_ in kept])
    return jobs
