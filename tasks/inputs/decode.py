"""Image files into one batch on the device; a file that cannot be used is a failure with a reason, not an exception."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from storage.errors import Failure, ImageError
from storage.images import decode_image, read_image
from storage.landmarks import Unusable
from storage.markings import Markings, markings_of
from styleclip.errors import AlignmentError, NoFaceError
from styleclip.faces.align import align_face
from styleclip.faces.detect import FaceDetector

DECODERS = 4
"""Threads per task: Pillow gives the interpreter free while it decodes."""


@dataclass(frozen=True)
class Decoded:
    """The usable files of a shard.

    positions: their places in the list that was asked for; images uint8 [n, size, size, 3];
    failures: position → reason for all the others; ms: milliseconds per file asked for; markings: position → what the
    file says of itself.
    """

    positions: list[int]
    images: np.ndarray
    failures: dict[int, Failure]
    ms: float
    markings: dict[int, Markings] = field(default_factory=dict)


CHANGED = Failure(
    "Changed",
    "it is no longer what the run was planned with; run the same command with --retry-failed to edit it as it is now",
)


def short_hash(content: bytes) -> str:
    """What a plan knows content by: the first 16 hex digits of its sha256, as `storage.datasets.content_hash`."""
    return hashlib.sha256(content).hexdigest()[:16]


def decode(
    paths: Sequence[str],
    size: int,
    faces: Sequence[np.ndarray | Unusable] | FaceDetector | None = None,
    hashes: Sequence[str] | None = None,
) -> Decoded:
    """Read `paths` as squares of `size` pixels, several at a time.

    `hashes` are those that were planned: a file that has changed since is a failure. With `faces`, landmarks (one entry
    per path) or a detector of them, each face is brought into the FFHQ frame, from all pixels of its file; without, the
    middle of each picture is taken.
    """
    begun = time.perf_counter()
    markings: dict[str, Markings] = {}

    def read(
        path: str, face: np.ndarray | Unusable | FaceDetector | None, planned: str | None
    ) -> np.ndarray | Failure:
        try:
            content = read_image(path)
            if planned is not None and short_hash(content) != planned:
                return CHANGED
            markings[path] = markings_of(content)
            if face is None:
                return decode_image(content, size)
            whole = decode_image(content, None)
            if isinstance(face, Unusable):
                return Failure(face.error_class, face.reason)
            return align_face(whole, face.find(whole) if isinstance(face, FaceDetector) else face, size)
        except ImageError as error:
            return Failure(error.error_class, error.reason)
        except NoFaceError as error:
            return Failure("NoFace", str(error))
        except AlignmentError as error:
            return Failure("BadLandmarks", str(error))
        except MemoryError:
            return Failure("OutOfMemory", "there is not enough memory to decode and align it")

    with ThreadPoolExecutor(DECODERS) as pool:
        each = faces if isinstance(faces, Sequence) else [faces] * len(paths)
        results = list(pool.map(read, paths, each, hashes or [None] * len(paths)))
    positions = [i for i, result in enumerate(results) if not isinstance(result, Failure)]
    images = [result for result in results if not isinstance(result, Failure)]
    return Decoded(
        positions,
        np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8),
        {i: result for i, result in enumerate(results) if isinstance(result, Failure)},
        1000 * (time.perf_counter() - begun) / max(len(paths), 1),
        {i: markings[paths[i]] for i in positions},
    )
