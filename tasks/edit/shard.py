"""The unit of an edit run: one shard, from image files to edited files and one row per (image, edit)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storage.curves import write_curves
from storage.errors import Failure
from storage.known import by_content
from storage.metrics import write_shard
from storage.plan import shard_of
from storage.uris import join
from styleclip.bundles.load import Bundle
from styleclip.encode import invert_images
from styleclip.methods import CompiledEdit, InvertedBatch, read_edit
from styleclip.methods.measures import edit_measures, inversion_measures, see
from styleclip.passes import pass_size
from styleclip.pixels import from_bytes, to_bytes
from styleclip.precision import computing_in
from tasks.edit.batch import Batch, EditedPart
from tasks.edit.compile import compile_edits
from tasks.edit.rows import curve_frame, edit_rows
from tasks.edit.writing import picture_writer
from tasks.inputs.images_or_codes import take_in
from tasks.jobs import EditJob
from tasks.process.labels import Labels, mark_rows
from tasks.process.limits import device_limit
from tasks.process.memory import Halving
from tasks.process.models import bundle
from tasks.process.plans import ShardDone
from tasks.process.stopwatch import Stopwatch

SOUND = "sound"
NOT_FINITE = Failure("NotFinite", "the edit leads to numbers that are none: use a smaller strength")


class Sizes:
    """Batch sizes of one shard: each edit has its own, because methods differ in the memory that they need."""

    def __init__(self, batch: int, edits: int, passes: int) -> None:
        self.inversion = Halving(batch, passes)
        self.edits = [Halving(batch, passes) for _ in range(edits)]


@dataclass(frozen=True)
class Shop:
    """What the batches of a shard share; ids of its images; write(picture uint8 [H, W, 3], URI, XMP)."""

    models: Bundle
    edits: Sequence[CompiledEdit]
    job: EditJob
    ids: Sequence[str]
    watch: Stopwatch
    sizes: Sizes
    labels: Labels
    write: Callable[[np.ndarray, str, bytes], None]

    def save(
        self,
        pictures: np.ndarray,
        positions: Sequence[int],
        name: str,
        without: Mapping[int, Failure],
        label: Callable[[int], bytes],
    ) -> None:
        """Hand over pictures uint8 [n, H, W, 3] as files called `name` ({}: the id); not those of failures.

        label: position → the picture's XMP.
        """
        with self.watch.time("write"):
            for position, picture in zip(positions, pictures, strict=True):
                if position not in without:
                    uri = join(self.job.output, name.format(self.ids[position]))
                    self.write(picture, uri, label(position))


@torch.inference_mode()
def edit_batch(shop: Shop, inputs: np.ndarray, positions: list[int]) -> Batch:
    """Invert images and make every edit; pictures go to their files as soon as they are made.

    inputs: images uint8 [n, H, W, 3], or latent codes float32 [n, num_ws, w_dim] of images inverted before. Of an edit
    only one batch of pictures is ever in memory, however large the shard and however many the edits.
    """
    models, job = shop.models, shop.job
    source = None
    with shop.watch.time("invert"):
        if inputs.ndim == 3:
            w = torch.from_numpy(inputs).to(models.device)
        else:
            source = from_bytes(inputs, models.device)
            w = invert_images(models, source, job.refine_steps, shop.sizes.inversion.halvings)
        s = models.generator.styles(w)
        reconstruction = models.generator.synthesize(s)
    with shop.watch.time("metrics"):
        seen = see(models, reconstruction)
        shared = {} if source is None else inversion_measures(see(models, source), seen)
    batch = Batch(positions, on_host(shared))
    if job.save_source and source is not None:
        shop.save(to_bytes(source).cpu().numpy(), positions, "images/source/{}.png", {}, shop.labels.source)
    if job.save_reconstruction:
        sound = reconstruction.flatten(1).isfinite().all(dim=1).tolist()
        lost = {position: NOT_FINITE for position, good in zip(positions, sound, strict=True) if not good}
        pictures = to_bytes(reconstruction).cpu().numpy()
        shop.save(pictures, positions, "images/reconstruction/{}.png", lost, shop.labels.reconstruction)
    inverted = InvertedBatch(w, s, seen)
    for edit, size in zip(shop.edits, shop.sizes.edits, strict=True):
        _apply(shop, edit, size, inverted, batch)
    return batch


def _apply(shop: Shop, edit: CompiledEdit, size: Halving, inverted: InvertedBatch, batch: Batch) -> None:
    """One edit on a batch, in as many parts as the memory asks for."""
    name, label = edit.edit.name, functools.partial(shop.labels.edited, edit=edit.edit)

    def work(rows: slice) -> tuple[EditedPart, dict[str, np.ndarray]]:
        part, positions = inverted.part(rows, size.halvings), batch.positions[rows]
        with shop.watch.time(f"edit/{name}"):
            edited = edit.apply(shop.models, part)
        with shop.watch.time("metrics"):
            measures = edit_measures(part.seen, see(shop.models, edited.images), edit.wording)
            measures["delta_norm"] = (edited.styles - part.s).norm(dim=1)
            sound = edited.images.flatten(1).isfinite().all(dim=1) & measures["delta_norm"].isfinite()
            kept = on_host(measures | dict(edited.measures) | {SOUND: sound})
        lost = {place: NOT_FINITE for place, good in enumerate(kept.pop(SOUND)) if not good}
        lost |= {place: Failure("NotFinite", why) for place, why in edited.lost.items()}
        pictures = {f"images/{name}/{{}}.png": to_bytes(edited.images)}
        pictures |= {f"steps/{name}/{{}}/{step:04d}.png": stage for step, stage in edited.stages.items()}
        return EditedPart(
            positions=positions,
            measures=kept,
            failures={positions[place]: why for place, why in lost.items()},
            curves={curve: values.cpu().numpy() for curve, values in edited.curves.items()},
            batch=min(shop.sizes.inversion.size, size.size),
        ), {file: each.cpu().numpy() for file, each in pictures.items()}

    parts: list[EditedPart] = []
    failures: dict[int, Failure] = {}
    for rows, outcome in size.over(len(inverted), work):
        if isinstance(outcome, Failure):
            failures[batch.positions[rows.start]] = outcome
            continue
        # Only now, when the device holds nothing of this part any more: waiting for the writers costs no memory there.
        part, pictures = outcome
        for file, each in pictures.items():
            shop.save(each, part.positions, file, part.failures, label)
        parts.append(part)
        failures |= part.failures
    batch.parts.append(parts)
    batch.failures.append(failures)


def on_host(measures: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """Measures, each [n] on the device, as numbers, whole ones and truths as such: one transfer for all of them."""
    if not measures:
        return {}
    table = torch.stack([values.double() for values in measures.values()]).tolist()
    return {
        name: row
        if values.is_floating_point()
        else [bool(value) if values.dtype == torch.bool else int(value) for value in row]
        for (name, values), row in zip(measures.items(), table, strict=True)
    }


@device_limit()
def edit_shard(
    job: EditJob, shard: int, lost: Mapping[int, Failure] | None = None, commit: bool = True
) -> ShardDone:
    """Edit the images of one shard; its Parquet file, written last, is the commit.

    `lost`: images, by position, that are not to be touched, and why; their rows are failed. Without `commit` all is
    done but the last step, to see whether the process survives it.
    """
    planned = shard_of(job.output, shard)
    files = by_content(job.output, "edit", planned.run_id, shard, planned.images)
    models = bundle(job.bundle, job.device)
    specs = [read_edit(edit) for edit in planned.edits]
    made = {edit.edit.name: edit for edit in compile_edits(job.bundle, job.device, job.directions, specs)}
    edits = [made[name] for name in planned.names]
    watch = Stopwatch(models.device)
    ids = [image.id for image in planned.images]
    with watch.time("decode"):
        images, decoded = take_in(job, planned.images, files, models, lost)
    sizes = Sizes(job.batch, len(edits), pass_size(models.generator))
    failures = dict(decoded.failures)
    batches: list[Batch] = []
    with picture_writer() as write, computing_in(job.precision):
        labels = Labels(models.name, images, decoded.markings)
        shop = Shop(models, edits, job, ids, watch, sizes, labels, write)

        def work(part: slice) -> Batch:
            return edit_batch(shop, decoded.images[part], decoded.positions[part])

        for part, batch in sizes.inversion.over(len(decoded.positions), work):
            if isinstance(batch, Failure):
                failures[decoded.positions[part.start]] = batch
            else:
                batches.append(batch)
    rows = edit_rows(job, images, edits, failures, batches, watch)
    rows = [row | {"generation": planned.generation} for row in rows]
    mark_rows(rows, job.output, images, decoded.markings, write.digests)
    curves = curve_frame(edits, batches, ids)
    if commit:
        if len(curves):
            write_curves(job.output, "edit", f"shard-{shard:05d}", curves)
        write_shard(job.output, "edit", planned.run_id, shard, rows)
    failed = sum(row["status"] == "failed" for row in rows)
    return ShardDone(shard, ok=len(rows) - failed, failed=failed)
