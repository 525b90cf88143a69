"""Rows of metrics, read: the present state of a run as a table, lazily, or batch by batch in bounded memory."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from storage import parquet, uris
from storage.errors import StorageError, StoreCorrupt
from storage.metrics import SCHEMA, ShardFile, shard_files
from storage.plan import generations_of
from storage.presence import PRESENT, STATES, Presence

if TYPE_CHECKING:
    import dask.dataframe as dd

READERS = 8
"""Threads that read the files of a run: mostly they wait for a disk or a network."""
BATCH_FILES = 64
"""Files that are read into one batch."""
ADDED = ("flow", "run", "state")
"""Columns that are no part of the files; `state` only where all generations are asked for."""
Which = Literal["present", "all"]


class Rows:
    """The rows of a run folder, or with `planned` of the run that its plan describes, as far as they are committed now.

    which: "present", one row per image and edit as they are asked for now; "all", every row that was ever committed,
    with the column `state` (`storage.presence.STATES`). Raises StoreCorrupt for a damaged plan.
    """

    def __init__(self, run_dir: str, which: Which = "present", *, planned: bool = False) -> None:
        if which not in ("present", "all"):
            raise StorageError(f"generations is 'present' or 'all', not '{which}'")
        self.which = which
        files = shard_files(run_dir)
        generations = generations_of(run_dir)
        self._planned: tuple[str, str] | None = None
        self._presence: Presence | None = None
        if generations:
            self._planned = (str(generations[0].fingerprint.get("flow", "")), generations[0].run_id)
            finished = {each.shard for each in files if (each.flow, each.run) == self._planned}
            self._presence = Presence(run_dir, generations, finished)
        mine = [each for each in files if (each.flow, each.run) == self._planned]
        self.files = mine if planned and self._planned else files

    def names(self, columns: Sequence[str] | None) -> list[str]:
        """The columns of a batch, for those that are asked for."""
        if columns is not None:
            return list(columns)
        return [*SCHEMA.names, *(ADDED if self.which == "all" else ADDED[:2])]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Tables of the rows of some files each, in order, of these columns only; memory does not grow with the run.

        Columns that older files lack are null; those that only newer files have are there when all are asked for.
        Raises StoreCorrupt when a file cannot be read.
        """
        with ThreadPoolExecutor(READERS) as pool:
            waiting: deque[Future[pa.Table]] = deque()
            groups = [self.files[at : at + BATCH_FILES] for at in range(0, len(self.files), BATCH_FILES)]
            for group in groups:
                waiting.append(pool.submit(self.read, group, columns))
                if len(waiting) > READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def read(self, files: Sequence[ShardFile], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of these files as one table."""
        return pa.concat_tables([self._one(file, columns) for file in files], promote_options="permissive")

    def _one(self, file: ShardFile, columns: Sequence[str] | None) -> pa.Table:
        planned = self._presence is not None and (file.flow, file.run) == self._planned
        wanted = (
            None if columns is None else dict.fromkeys([*columns, *(("image_id", "edit") if planned else ())])
        )
        table = _read(file, wanted)
        states = np.zeros(len(table), np.int8)
        if planned:
            assert self._presence is not None
            states = self._presence.states(file.shard, table["image_id"], table["edit"])
            if self.which == "present" and states.any():
                table = table.filter(pa.array(states == PRESENT))
            if "generation" in table.column_names and table["generation"].null_count:
                number = self._presence.generation_of(file.shard)
                place = table.column_names.index("generation")
                table = table.set_column(place, "generation", pa.array([number] * len(table), pa.int64()))
        for name, value in (("flow", file.flow), ("run", file.run)):
            if columns is None or name in columns:
                table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
        if self.which == "all" and (columns is None or "state" in columns):
            table = table.append_column("state", pa.array([STATES[state] for state in states], pa.string()))
        return table if columns is None else table.select(list(columns))


def read_metrics(
    run_dir: str,
    columns: Sequence[str] | None = None,
    *,
    generations: Which = "present",
    lazy: bool = False,
) -> pd.DataFrame | dd.DataFrame:
    """The present state of a run folder: one row per image and edit, with the columns flow and run.

    generations="all" gives every row that was ever committed, with the column `state`: present, superseded (made again
    since), removed (its image is gone) or dropped (its edit is no longer asked for). lazy=True gives a dask dataframe
    of the same rows, some files to a partition, which reads nothing yet.

    Columns that older files lack are null; columns that only newer files have are kept, unless lazy. Whole numbers stay
    whole (nullable Int64). Raises StorageError when there are no metrics or no such column, StoreCorrupt when a file
    cannot be read.
    """
    rows = Rows(run_dir, generations)
    if not rows.files:
        raise StorageError(
            f"{run_dir} holds no metrics: is it the output folder of a run, and has a shard finished?"
        )
    if lazy:
        return _lazily(rows, rows.names(columns))
    # Without the mapper a column of integers with nulls becomes floats, and large seeds change.
    return _frame(pa.concat_tables(rows.batches(columns), promote_options="permissive"))


def _lazily(rows: Rows, columns: list[str]) -> dd.DataFrame:
    import dask.dataframe as dd

    groups = [rows.files[at : at + BATCH_FILES] for at in range(0, len(rows.files), BATCH_FILES)]
    # Dask would make text of a column of truths and nulls, which pandas has as objects.
    kinds = {pa.bool_(): pd.BooleanDtype()}
    empty = _frame(rows.read(rows.files[:1], columns).slice(0, 0), kinds)
    return dd.from_map(
        lambda group: _frame(rows.read(group, columns), kinds), groups, meta=empty, label="metrics"
    )


def _frame(table: pa.Table, kinds: Mapping[pa.DataType, Any] = MappingProxyType({})) -> pd.DataFrame:
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), **kinds}.get)


@functools.lru_cache(maxsize=8)
def _schema(names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])


def read_shard(file: ShardFile) -> pa.Table:
    """The rows of one file, in today's columns, and flow and run. Raises StoreCorrupt when it cannot be read."""
    table = _read(file, None)
    for name, value in (("flow", file.flow), ("run", file.run)):
        table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
    return table


def _read(file: ShardFile, wanted: dict[str, Any] | None) -> pa.Table:
    try:
        table = parquet.from_bytes(uris.read_bytes(file.uri), None if wanted is None else list(wanted))
        ours = [name for name in SCHEMA.names if wanted is None or name in wanted]
        if table.schema == _schema(tuple(ours)) and (wanted is None or wanted.keys() <= {*ours, *ADDED}):
            return table
        there = table.column_names
        columns = {}
        for name in ours:
            kind = SCHEMA.field(name).type
            column = table[name] if name in there else pa.nulls(len(table), kind)
            columns[name] = column if column.type == kind else column.cast(kind)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        why = " ".join(str(error).split())
        raise StoreCorrupt(
            f"{file.uri} cannot be read ({why}): delete it and run again to redo the shard"
        ) from error
    unknown = [
        name for name in wanted or () if name not in columns and name not in there and name not in ADDED
    ]
    if unknown:
        raise StorageError(f"metrics have no column {', '.join(unknown)}")
    columns |= {name: table[name] for name in there if name not in columns}
    return pa.table(columns)
