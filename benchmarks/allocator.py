"""Pictures a second with glibc's allocator as it is and as `styleclip.allocator` sets it, side by side.

`python benchmarks/allocator.py`: each setting in a process of its own, one thread, repeated in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys

ROUNDS, BATCH = 3, 64
WORKER = """
import sys, time, torch
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    from styleclip.allocator import keep_freed_memory
    assert keep_freed_memory()
from styleclip.networks import Generator, GeneratorConfig
torch.manual_seed(0)
generator = Generator(GeneratorConfig(64, 128, {4: 128, 8: 128, 16: 128, 32: 64, 64: 32}, mapping_layers=2)).eval()
with torch.inference_mode():
    s = generator.styles(generator.map(torch.randn(int(sys.argv[2]), 64)))
    generator.synthesize(s)
    begun = time.perf_counter()
    for _ in range(3):
        generator.synthesize(s)
print(3 * len(s) / (time.perf_counter() - begun))
"""


def measure(setting: str) -> float:
    """Pictures a second of one process."""
    result = subprocess.run(
        [sys.executable, "-c", WORKER, setting, str(BATCH)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return float(result.stdout)


def main() -> None:
    """Print both rates of every round and their ratio."""
    for number in range(ROUNDS):
        plain, kept = measure("plain"), measure("kept")
        print(
            f"round {number + 1}: default {plain:.0f}/s, kept {kept:.0f}/s, ratio {kept / plain:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
