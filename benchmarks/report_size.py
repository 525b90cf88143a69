"""Time, size and peak memory of a report over N rows: python benchmarks/report_size.py [1000000]."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time

import numpy as np

from storage import write_shard
from storage.metrics import shard_uri
from tasks.report.write import write_report

ROWS_PER_SHARD, EDITS, DIFFERENT = 1000, 20, 20


def main(rows: int) -> None:
    """Write so many made-up rows, then the report in this process."""
    chance = np.random.default_rng(0)
    # few shards are made and the others are copies: only the report is measured
    with tempfile.TemporaryDirectory() as run:
        shards = rows // ROWS_PER_SHARD
        for shard in range(min(shards, DIFFERENT)):
            part = [_row(chance, shard, number) for number in range(ROWS_PER_SHARD)]
            write_shard(run, "edit", "made-up", shard, part)
        for shard in range(DIFFERENT, shards):
            places = [shard_uri(run, "edit", "made-up", number) for number in (shard % DIFFERENT, shard)]
            shutil.copy(*places)
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        written = write_report.fn(run)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{written.rows:,} rows: {time.perf_counter() - begun:.0f} s, {written.bytes / 1e6:.2f} MB, "
            f"peak memory {peak / 1024:.0f} MiB (before: {before / 1024:.0f} MiB)"
        )


def _row(chance: np.random.Generator, shard: int, number: int) -> dict[str, object]:
    image = f"i{shard:05d}-{number // EDITS:03d}"
    return {
        "image_id": image, "path": f"/data/{image}.png", "input_hash": "0", "edit": f"edit-{number % EDITS}",
        "status": "ok", "method": "global", "target": "a hat", "alpha": 4.0, "channels_used": number % EDITS,
        "clip_gain": chance.normal(0.1, 0.05), "directional_similarity": chance.normal(0.3, 0.1),
        "identity_reconstruction_edit": chance.random(), "distance_reconstruction_edit": chance.random() / 10,
        "ms_edit": 5.0, "ms_decode": 1.0, "output": f"images/edit-{number % EDITS}/{image}.png",
    }  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
