"""The rows of a run, a shard at a time: for readers that must not hold a million of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from storage.errors import StoreCorrupt
from storage.metrics import read_shard, shard_files
from storage.plan import load_plan


def row_batches(
    run_dir: str, columns: list[str] | None = None, on_damage: Callable[[StoreCorrupt], None] | None = None
) -> Iterator[pa.Table]:
    """Rows of the run that the folder's plan describes, with the column `flow`, in the order of the shards.

    Files that cannot be read are handed to `on_damage` and passed over; without it, StoreCorrupt is raised.
    """
    plan = load_plan(run_dir)
    for uri, match in shard_files(run_dir):
        if plan is not None and match[2] != plan.run_id:
            continue
        try:
            table = read_shard(uri, match[1], match[2])
        except StoreCorrupt as error:
            if on_damage is None:
                raise
            on_damage(error)
            continue
        yield table if columns is None else table.select(columns)
