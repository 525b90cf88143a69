"""Pictures into files, compressed beside the work on the device; few of them wait at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from storage.images import encode_image

WRITERS = 4
"""Threads per task that compress PNG files."""

WAITING = 3 * WRITERS
"""Pictures that are not written yet: more keep the writers no busier, and take memory."""


@contextmanager
def picture_writer() -> Iterator[Callable[[np.ndarray, str], None]]:
    """write(picture uint8 [H, W, 3], uri), which returns at once unless `WAITING` pictures wait already.

    All are written when the block is left. What goes wrong with one is raised by a later call, or at the end.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WRITERS) as writers:

        def write(picture: np.ndarray, uri: str) -> None:
            while len(waiting) >= WAITING:
                waiting.popleft().result()
            waiting.append(writers.submit(encode_image, picture, uri))

        yield write
        for picture in waiting:
            picture.result()
