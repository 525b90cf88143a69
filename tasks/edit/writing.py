"""Pictures into files, compressed beside the work on the device; few of them wait at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from storage.images import encode_image

WRITERS = 4
"""Threads per task that compress PNG files."""

WAITING = 3 * WRITERS
"""Pictures that are not written yet: more keep the writers no busier, and take memory."""


class PictureWriter:
    """write(picture uint8 [H, W, 3], uri, xmp), which returns at once unless `WAITING` pictures wait already.

    `digests`: URI → sha256 of every file that was written; whole once the writer's block is left.
    """

    def __init__(self, writers: ThreadPoolExecutor) -> None:
        self.digests: dict[str, str] = {}
        self._writers = writers
        self._waiting: deque[tuple[str, Future[str]]] = deque()

    def __call__(self, picture: np.ndarray, uri: str, xmp: bytes = b"") -> None:
        """Hand over a picture. What went wrong with an earlier one is raised here."""
        self.finish(WAITING - 1)
        self._waiting.append((uri, self._writers.submit(encode_image, picture, uri, xmp)))

    def finish(self, left: int = 0) -> None:
        """Wait until at most `left` pictures wait."""
        while len(self._waiting) > left:
            uri, future = self._waiting.popleft()
            self.digests[uri] = future.result()


@contextmanager
def picture_writer() -> Iterator[PictureWriter]:
    """A writer whose pictures are all written when the block is left."""
    with ThreadPoolExecutor(WRITERS) as writers:
        writer = PictureWriter(writers)
        yield writer
        writer.finish()
