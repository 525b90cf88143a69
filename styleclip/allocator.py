"""glibc's allocator, told to keep what it has got.

By default every large activation is mapped anew and given back at once, and the kernel clears each of its pages
again: on a CPU, synthesis then spends most of its time in page faults. Memory that a pass needed once stays with the
process instead. `python benchmarks/allocator.py` measures the difference.
"""

from __future__ import annotations

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEEP, PAD = 2**31 - 1, 64 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Change the allocator of this process, once; False where the C library has no such knobs (macOS, musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(
        mallopt(knob, value) for knob, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEEP), (M_TOP_PAD, PAD))
    )
