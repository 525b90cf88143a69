"""What reading a large run costs: its summary, and means of every number, in bounded memory.

    python benchmarks/rows.py 10000000

Writes 500 shards of synthetic rows as an edit run does (32 images × 10 edits, every column filled) and links to them,
so that the disk has no part in it; then measures in
processes of their own: "summary", the flow's own pass over the rows; "every column", the count of each and the mean of
every number through pyarrow batches; "dask", the same means through `read_metrics(lazy=True)`. Memory is the whole
process at its peak, imports included.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

IMAGES, EDITS = 32, 10
ROWS = IMAGES * EDITS
DISTINCT = 500


def write(folder: str, shards: range) -> None:
    """Files of synthetic rows."""
    from storage.metrics import SCHEMA

    for shard in shards:
        rng = np.random.default_rng(shard)
        ids = [f"folder{shard // 100:04d}__image-{shard * IMAGES + image:08d}" for image in range(IMAGES)]
        failed = rng.random(ROWS) < 0.01
        columns = {}
        for field in SCHEMA:
            if field.type == pa.float64():
                columns[field.name] = pa.array(
                    np.where(failed, np.nan, rng.normal(size=ROWS)), from_pandas=True
                )
            elif field.type == pa.int64():
                columns[field.name] = pa.array(rng.integers(0, 50, ROWS))
            else:
                columns[field.name] = pa.array([f"{field.name} {shard % 7}"] * ROWS)
        columns["image_id"] = pa.array(np.repeat(ids, EDITS).tolist())
        columns["edit"] = pa.array([f"edit{number}" for number in range(EDITS)] * IMAGES)
        columns["status"] = pa.array(np.where(failed, "failed", "ok").tolist())
        columns["error_class"] = pa.array(np.where(failed, "Truncated", None).tolist(), pa.string())
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns, schema=SCHEMA), buffer)
        Path(folder, f"shard-{shard:05d}.parquet").write_bytes(buffer.getvalue())


def summary(run: str) -> str:
    """The flow's own summary."""
    from tasks.edit.summary import FinishedRun

    found = FinishedRun.read(run)
    return f"{found.rows:,} rows, {found.failed:,} failed"


def every_column(run: str) -> str:
    """Counts of all columns and means of all numbers, batch by batch."""
    import pyarrow.compute as pc

    from storage.reading import Rows

    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for batch in Rows(run).batches():
        for name in batch.column_names:
            counts[name] = counts.get(name, 0) + len(batch) - batch[name].null_count
            if pa.types.is_floating(batch[name].type) or pa.types.is_integer(batch[name].type):
                sums[name] = sums.get(name, 0.0) + (pc.sum(batch[name]).as_py() or 0)
    return f"{len(counts)} columns, {len(sums)} means"


def through_dask(run: str) -> str:
    """Means of all numbers, as a user asks for them."""
    import dask

    from storage.reading import read_metrics

    frame = read_metrics(run, lazy=True)
    with dask.config.set(scheduler="threads", num_workers=2):
        means = frame.select_dtypes("number").mean().compute()
    return f"{len(means)} means"


def alone(what: Callable[[], str]) -> str:
    """What came out, seconds and peak MiB of a call in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result, took, on_cpu, memory = pool.submit(_timed, what).result()
    return f"{result} | {took:.0f} s ({on_cpu:.0f} s of processor) | {memory:.0f} MiB"


def _timed(what: Callable[[], str]) -> tuple[str, float, float, float]:
    begun, on_cpu = time.perf_counter(), time.process_time()
    result = what()
    took, on_cpu = time.perf_counter() - begun, time.process_time() - on_cpu
    return result, took, on_cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """A Markdown table."""
    from storage.growth import Wanted, keep_plan
    from storage.images_table import images_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    shards = -(-parser.parse_args().rows // ROWS)
    with tempfile.TemporaryDirectory() as run:
        table = images_table([f"i{number}" for number in range(IMAGES)], ["a"] * IMAGES, ["1-1"] * IMAGES)
        edits = tuple({"name": f"edit{number}"} for number in range(EDITS))
        kept = keep_plan(run, Wanted(table, "/in", edits, IMAGES, {"flow": "edit"}, lambda *_: []))
        folder = Path(run, "metrics", "flow=edit", f"run=r-{kept.generation.run_id}")
        folder.mkdir(parents=True)
        with ProcessPoolExecutor(2) as pool:
            made = min(shards, DISTINCT)
            parts = [range(first, min(first + 50, made)) for first in range(0, made, 50)]
            list(pool.map(partial(write, str(folder)), parts))
        for shard in range(made, shards):
            os.link(folder / f"shard-{shard % made:05d}.parquet", folder / f"shard-{shard:05d}.parquet")
        print(
            f"| {shards * ROWS:,} rows in {shards:,} files | found | time | peak memory |\n|---|---|---|---|",
            flush=True,
        )
        for name, what in (("summary", summary), ("every column", every_column), ("dask", through_dask)):
            print(f"| {name} | {alone(partial(what, run))} |", flush=True)


if __name__ == "__main__":
    main()
