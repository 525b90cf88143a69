"""How faces come into the generator's frame, decided once per run and the same for all its shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from storage.datasets import ImageFolder
from storage.errors import StorageError
from storage.landmarks import Unusable, digest_of, find_landmarks, load_landmarks
from styleclip.errors import AlignmentError

Align = Literal["none", "landmarks", "detector"]
Landmarks = dict[str, np.ndarray | Unusable]


def landmarks_for(align: Align, table: str | None, folder: str, images: ImageFolder) -> Landmarks | None:
    """The landmarks of a folder's images, or why one has none; None where images are aligned already.

    Raises AlignmentError for what cannot be done, StorageError when no image at all has landmarks.
    """
    if align == "detector":
        raise AlignmentError(
            "align 'detector' needs a face detector, and none comes with this program: make landmarks with a detector "
            "of your own (5 or 68 points), put them beside the images, and choose align 'landmarks'"
        )
    if align == "none":
        if table is not None:
            raise AlignmentError(
                f"landmarks are given ({table}), but align is 'none': choose align 'landmarks'"
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


def alignment_of(found: Landmarks | None) -> dict[str, Any]:
    """What a plan remembers of the alignment."""
    return {"align": "none"} if found is None else {"align": "landmarks", "landmarks": digest_of(found)}


def landmarks_in(run: str, align: Align, ids: Sequence[str]) -> list[np.ndarray | Unusable] | None:
    """What the run has kept for these images; None where images are aligned already."""
    return None if align == "none" else load_landmarks(run, ids)
