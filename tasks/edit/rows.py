"""What a shard is remembered by: one metrics row per (image, edit), and the curves of edits that took steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from storage.errors import Failure
from storage.plan import PlannedImage
from styleclip.methods.face import CompiledEdit
from tasks.edit.batch import Batch, EditedPart
from tasks.jobs import EditJob
from tasks.process.plans import package_version
from tasks.process.stopwatch import Stopwatch


def edit_rows(
    job: EditJob,
    images: Sequence[PlannedImage],
    edits: Sequence[CompiledEdit],
    failures: Mapping[int, Failure],
    batches: Sequence[Batch],
    watch: Stopwatch,
) -> list[dict[str, Any]]:
    """One row per (image, edit), in the order of the plan; `failures`: position of an image that had no edit at all."""
    common = {"seed": job.seed, "bundle": job.bundle, "package_version": package_version()}
    common |= watch.per(len(images), "decode", "invert")
    common |= watch.per(len(images) * len(edits), "metrics", "write")
    rows: list[list[dict[str, Any]]] = []
    for position, image in enumerate(images):
        of_image = {
            "image_id": image.id,
            "path": image.path,
            "input_hash": image.hash,
            "status": "ok",
        } | common
        if failure := failures.get(position):
            of_image |= _failed(failure)
        rows.append([of_image | _words(edit) | _time(edit, watch, len(images)) for edit in edits])
    for batch in batches:
        for number, (parts, failed) in enumerate(zip(batch.parts, batch.failures, strict=True)):
            for place, position in enumerate(batch.positions):
                row = rows[position][number]
                row |= {name: values[place] for name, values in batch.shared.items()}
                if position in failed:
                    row |= _failed(failed[position])
            for part in parts:
                _measured(part, [rows[position][number] for position in part.positions])
    return [row for of_image in rows for row in of_image]


def _measured(part: EditedPart, rows: Sequence[dict[str, Any]]) -> None:
    """Fill in what was measured; a failed image keeps nulls."""
    for name, values in part.measures.items():
        for row, value in zip(rows, values, strict=True):
            row["batch"] = part.batch
            if row["status"] == "ok":
                row[name] = value
                row["output"] = f"images/{row['edit']}/{row['image_id']}.png"


def _failed(failure: Failure) -> dict[str, Any]:
    return {"status": "failed", "error_class": failure.error_class, "reason": failure.reason}


def _words(edit: CompiledEdit) -> dict[str, Any]:
    asked, unknown = edit.edit, ", ".join(edit.wording.unknown_words) or None
    words = {
        "method": asked.method,
        "neutral": asked.neutral,
        "target": asked.target,
        "unknown_words": unknown,
    }
    return {"edit": asked.name} | words | dict(edit.columns)


def _time(edit: CompiledEdit, watch: Stopwatch, images: int) -> dict[str, float]:
    """Each edit has its own time: an optimization takes a thousand times longer than a direction."""
    spent = watch.ms.get(f"edit/{edit.edit.name}")
    return {} if spent is None else {"ms_edit": spent / images}


def curve_frame(edits: Sequence[CompiledEdit], batches: Sequence[Batch], ids: Sequence[str]) -> pd.DataFrame:
    """Every step of every optimized image: edit, image_id, step, and one column per curve.

    Rows whose image_id is null are the means over the images that had not stopped by this step; `images` counts
    them, and is 1 elsewhere. Empty when no edit took steps.
    """
    frames = []
    for number, edit in enumerate(edits):
        of_edit = [
            long_curves(part.curves, [ids[position] for position in part.positions])
            for batch in batches
            for part in batch.parts[number]
            if part.curves
        ]
        if not of_edit:
            continue
        single = pd.concat(of_edit, ignore_index=True)
        mean = single.groupby("step", as_index=False).mean(numeric_only=True)
        mean["images"] = single.groupby("step").size().to_numpy()
        frames.append(pd.concat([single.assign(images=1), mean], ignore_index=True))
        frames[-1].insert(0, "edit", edit.edit.name)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def long_curves(curves: Mapping[str, np.ndarray], ids: Sequence[str]) -> pd.DataFrame:
    """Curves [steps, n] → one row per image and step that it took: image_id, step, and the curves."""
    steps, count = next(iter(curves.values())).shape
    frame = pd.DataFrame({"image_id": np.repeat(ids, steps), "step": np.tile(np.arange(steps), count)})
    for name, values in curves.items():
        frame[name] = values.T.ravel()
    # a stopped image has no further steps; the first one is kept, so that a failure shows what it began with
    running = frame[list(curves)].notna().any(axis=1) | (frame["step"] == 0)
    return frame[running].reset_index(drop=True)
