"""How faces come into the generator's frame, decided once per run and the same for all its shards."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storage.datasets import ImageFolder
from storage.errors import StorageError
from storage.landmarks import Unusable, find_landmarks
from storage.plan import PlannedImage
from styleclip.bundles.load import Bundle, file_sha256
from styleclip.errors import AlignmentError
from styleclip.faces.detect import FaceDetector
from tasks.jobs import Align

Landmarks = dict[str, np.ndarray | Unusable]


def landmarks_for(align: Align, table: str | None, folder: str, images: ImageFolder) -> Landmarks | None:
    """The landmarks of a folder's images, or why one has none; None unless align is 'landmarks'.

    Raises AlignmentError for a table that nothing would read, StorageError when no image at all has landmarks.
    """
    if align != "landmarks":
        if table is not None:
            raise AlignmentError(
                f"landmarks are given ({table}), but align is '{align}': choose align 'landmarks'"
            )
        return None
    found = find_landmarks(folder, images.images, table)
    problems = [entry for entry in found.values() if isinstance(entry, Unusable)]
    if len(problems) == len(found):
        raise StorageError(
            f"none of the {len(found)} images in {folder} has landmarks that can be used; for the first one "
            f"{problems[0].reason}"
        )
    return found


def alignment_of(align: Align, models: Bundle) -> dict[str, Any]:
    """What a plan remembers of the alignment. Raises AlignmentError where a detector is asked for and not there."""
    return {"align": align} | (
        {"detector": file_sha256(_detector_of(models).path)} if align == "detector" else {}
    )


def faces_in(
    align: Align, images: Sequence[PlannedImage], models: Bundle
) -> list[np.ndarray | Unusable] | FaceDetector | None:
    """Where these images' faces are: what was planned, or the detector; None where images are aligned already."""
    if align == "detector":
        return _detector_of(models)
    if align == "none":
        return None
    return [
        Unusable("NoLandmarks", "the plan holds none of it") if image.face is None else image.face
        for image in images
    ]


def _detector_of(models: Bundle) -> FaceDetector:
    if models.detector is None:
        raise AlignmentError(
            f"align 'detector' needs a face detector, and bundle '{models.name}' has none that is there "
            f"(`styleclip bundle check {models.name}`): name a YuNet file in its section [detector], or put landmarks "
            "beside the images (5 or 68 points each) and choose align 'landmarks'"
        )
    return _load(models.detector)


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> FaceDetector:
    return FaceDetector(path)
