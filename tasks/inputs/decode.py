"""Image files into one batch on the device; a file that cannot be used is a failure with a reason, not an exception."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from storage.datasets import UNREADABLE
from storage.errors import Failure, ImageError
from storage.images import CHANGED, decode_image, read_image
from storage.images_table import HASHED
from storage.landmarks import Unusable
from storage.markings import Markings, markings_of
from styleclip.errors import AlignmentError, NoFaceError
from styleclip.faces.align import align_face
from styleclip.faces.detect import FaceDetector

DECODERS = 4
"""Threads per task: Pillow releases the GIL while it decodes."""


@dataclass(frozen=True)
class Decoded:
    """The usable files of a shard.

    positions: their places in the list that was asked for; images uint8 [n, size, size, 3];
    failures: position → reason for all the others; hashes: of the content of each file that was asked for, as far as it
    could be read; ms: milliseconds per file; markings: position → what the file says of itself.
    """

    positions: list[int]
    images: np.ndarray
    failures: dict[int, Failure]
    hashes: list[str]
    ms: float
    markings: dict[int, Markings] = field(default_factory=dict)

    def among(self, kept: Sequence[int], lost: Mapping[int, Failure]) -> Decoded:
        """The same in a shard of which only the images at positions `kept` were asked for; `lost` are the others."""
        return replace(
            self,
            positions=[kept[position] for position in self.positions],
            failures={kept[position]: why for position, why in self.failures.items()} | dict(lost),
            hashes=_among(self.hashes, kept, len(kept) + len(lost)),
            markings={kept[position]: each for position, each in self.markings.items()},
        )


def _among(hashes: Sequence[str], kept: Sequence[int], count: int) -> list[str]:
    found = [UNREADABLE] * count
    for position, digest in zip(kept, hashes, strict=True):
        found[position] = digest
    return found


def short_hash(content: bytes) -> str:
    """What a plan knows content by: the first 16 hex digits of its sha256, as `storage.datasets.content_hash`."""
    return hashlib.sha256(content).hexdigest()[:16]


def decode(
    paths: Sequence[str],
    size: int,
    faces: Sequence[np.ndarray | Unusable] | FaceDetector | None = None,
    versions: Sequence[str] | None = None,
) -> Decoded:
    """Read `paths` as squares of `size` pixels, several at a time.

    `versions` are those that were planned: a file that has changed since is a failure. With `faces`, landmarks (one
    entry per path) or a detector of them, each face is brought into the FFHQ frame, from all pixels of its file;
    without, the middle of each picture is taken.
    """
    begun = time.perf_counter()
    markings: dict[str, Markings] = {}
    hashes = [UNREADABLE] * len(paths)

    def read(
        place: int, path: str, face: np.ndarray | Unusable | FaceDetector | None, version: str | None
    ) -> np.ndarray | Failure:
        file = version.split("+")[0] if version else None
        hashed = file is not None and file.startswith(HASHED)
        try:
            content = read_image(path, None if hashed else file)
            hashes[place] = short_hash(content)
            if hashed and file != HASHED + hashes[place]:
                return Failure("Changed", CHANGED)
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
        results = list(pool.map(read, range(len(paths)), paths, each, versions or [None] * len(paths)))
    positions = [i for i, result in enumerate(results) if not isinstance(result, Failure)]
    images = [result for result in results if not isinstance(result, Failure)]
    return Decoded(
        positions,
        np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8),
        {i: result for i, result in enumerate(results) if isinstance(result, Failure)},
        hashes,
        1000 * (time.perf_counter() - begun) / max(len(paths), 1),
        {i: markings[paths[i]] for i in positions},
    )
