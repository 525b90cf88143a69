"""In which arithmetic networks compute: float32 that is float32, TF32, or bfloat16 for the generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch

from styleclip.settings import Precision

_bfloat16: ContextVar[bool] = ContextVar("bfloat16", default=False)


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Everything that is computed inside of the block, backward passes too, is computed in `precision`.

    `with computing_in(job.precision): …` around the whole work of a task; blocks may be nested, and what held before
    holds again afterwards. Outside of any block torch's own default holds, where "float32" convolutions on CUDA are
    TF32. The switches of TF32 are the process's, not the thread's: tasks of one process run one at a time.

    `Generator.synthesize` asks for bfloat16 here, so that no caller needs an autocast of its own; images and
    gradients are float32 all the same.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    token = _bfloat16.set(precision == "bfloat16")
    try:
        yield
    finally:
        _bfloat16.reset(token)
        cudnn.allow_tf32, matmul.allow_tf32 = before


def synthesis_autocast(device: torch.device) -> AbstractContextManager[object]:
    """The autocast that synthesis runs in: to bfloat16 inside of `computing_in("bfloat16")`, else none of its own."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if _bfloat16.get() else nullcontext()
