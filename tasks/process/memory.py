"""Batches that fit: when the device runs out of memory the batch is halved, and the run goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from storage.errors import Failure

T = TypeVar("T")
WORDS = (
    "out of memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    # cuDNN tries its algorithms in turn, and none of them got its workspace
    "unable to find an engine",
    "Unable to find a valid cuDNN algorithm",
)
"""How torch says it for the CPU, and CUDA's libraries: only the device's allocator has an error class of its own."""


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory, of the device or of the machine, is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def give_back() -> None:
    """Free the memory of an attempt that failed; to be called when its exception, and with it its frames, is gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Halving:
    """A batch size that starts at `size` and is halved as often as needed; what was learnt is kept for later calls.

    Work that goes in passes of a size of its own, `passes`, halves them `halvings` times: only when these too are down
    to one image is a single one too large.
    """

    def __init__(self, size: int, passes: int = 1) -> None:
        assert size >= 1, f"at least one item must be in a batch, got {size}"
        self.size = size
        self.halvings = 0
        self._passes = passes

    def over(self, count: int, work: Callable[[slice], T]) -> Iterator[tuple[slice, T | Failure]]:
        """(part, work(part)) for parts that cover `count` items in order.

        A single item that is too large for the device gives a Failure in place of its result.
        """
        first = 0
        while first < count:
            part = slice(first, min(first + self.size, count))
            outcome = self._try(work, part)
            if outcome is None:
                give_back()
                continue
            yield part, outcome
            first = part.stop

    def _try(self, work: Callable[[slice], T], part: slice) -> T | Failure | None:
        try:
            return work(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if part.stop - part.start == 1 and self._passes >> self.halvings <= 1:
                return Failure("OutOfMemory", f"one image alone does not fit: {str(error).splitlines()[0]}")
            self.size = -(-(part.stop - part.start) // 2)
            self.halvings += 1
            return None
