"""The rows of a run, a shard at a time: for readers that must not hold a million of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from storage.errors import StoreCorrupt
from storage.reading import Rows


def row_batches(
    run_dir: str, columns: list[str] | None = None, on_damage: Callable[[StoreCorrupt], None] | None = None
) -> Iterator[pa.Table]:
    """Rows of the present state of the run that the folder's plan describes, with the column `flow`, shard by shard.

    Files that cannot be read are handed to `on_damage` and passed over; without it, StoreCorrupt is raised.
    """
    rows = Rows(run_dir, planned=True)
    for file in rows.files:
        try:
            yield rows.read([file], columns)
        except StoreCorrupt as error:
            if on_damage is None:
                raise
            on_damage(error)
