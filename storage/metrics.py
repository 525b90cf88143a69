"""Metrics as a Parquet dataset: one row per (image, edit), one file per shard, written last and at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa

from storage import parquet, uris
from storage.errors import StorageError, StoreCorrupt

SCHEMA_VERSION = 4
"""2: optimization and mappers (space, steps, lambda_*, learning_rate, relative, mapper), batch. 3: unknown_words. 4:
sha256 of pictures, markings of inputs; channels_why, aim, reached_value, reached. Older ones are read, too."""

KEYS = [
    ("image_id", pa.string()),
    ("path", pa.string()),
    ("input_hash", pa.string()),
    ("edit", pa.string()),
    ("status", pa.string()),
]
VALUES = [
    ("error_class", pa.string()),
    ("reason", pa.string()),
    ("method", pa.string()),
    ("neutral", pa.string()),
    ("target", pa.string()),
    ("unknown_words", pa.string()),
    ("alpha", pa.float64()),
    ("beta", pa.float64()),
    ("channels_used", pa.int64()),
    ("channels_why", pa.string()),
    ("aim", pa.float64()),
    ("reached_value", pa.float64()),
    ("reached", pa.bool_()),
    ("space", pa.string()),
    ("steps", pa.int64()),
    ("lambda_l2", pa.float64()),
    ("lambda_id", pa.float64()),
    ("learning_rate", pa.float64()),
    ("relative", pa.float64()),
    ("mapper", pa.string()),
    ("batch", pa.int64()),
    ("seed", pa.int64()),
    ("output", pa.string()),
    *((f"{picture}_sha256", pa.string()) for picture in ("output", "reconstruction", "source")),
    ("input_digital_source_type", pa.string()),
    ("input_has_c2pa", pa.bool_()),
    *((f"ms_{stage}", pa.float64()) for stage in ("decode", "invert", "edit", "metrics", "write")),
    ("clip_before", pa.float64()),
    ("clip_after", pa.float64()),
    ("clip_gain", pa.float64()),
    ("directional_similarity", pa.float64()),
    ("judge_clip_before", pa.float64()),
    ("judge_clip_after", pa.float64()),
    ("judge_directional_similarity", pa.float64()),
    ("identity_source_reconstruction", pa.float64()),
    ("identity_reconstruction_edit", pa.float64()),
    ("distance_source_reconstruction", pa.float64()),
    ("distance_reconstruction_edit", pa.float64()),
    ("clipped_share", pa.float64()),
    ("delta_norm", pa.float64()),
    ("bundle", pa.string()),
    ("package_version", pa.string()),
    ("schema_version", pa.int64()),
]
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in KEYS]
    + [pa.field(name, kind) for name, kind in VALUES]
)
READERS = 8
"""Threads that read the files of a run: mostly they wait for a disk or a network."""
STATUSES = frozenset({"ok", "failed"})
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SHARD = re.compile(r"flow=([^/]+)/run=r-([^/]+)/shard-(\d+)\.parquet")


def shard_uri(run_dir: str, flow: str, run: str, shard: int) -> str:
    """Where the rows of a shard are kept."""
    for name in (flow, run):
        if not _NAME.fullmatch(name):
            raise StorageError(f"'{name}' cannot name a flow or run: use letters, digits, '.', '_' and '-'")
    # Without the prefix a run called "001" would come back as the number 1.
    return uris.join(run_dir, "metrics", f"flow={flow}", f"run=r-{run}", f"shard-{shard:05d}.parquet")


def write_shard(run_dir: str, flow: str, run: str, shard: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Commit a shard: its rows in one file, under a temporary name first. A shard without its file never happened.

    Missing optional values become null. Raises StorageError for an unknown column, a missing key, a status that is
    neither "ok" nor "failed", and a value of the wrong type: better here than lost in a reader.
    """
    uri = shard_uri(run_dir, flow, run, shard)
    complete = [{**row, "schema_version": SCHEMA_VERSION} for row in rows]
    for row in complete:
        if unknown := set(row) - set(SCHEMA.names):
            raise StorageError(f"metrics have no column {', '.join(sorted(unknown))}")
        if missing := [name for name, _ in KEYS if row.get(name) is None]:
            raise StorageError(f"a row of metrics lacks {', '.join(missing)}: {row}")
        if row["status"] not in STATUSES:
            raise StorageError(f"the status of a row is 'ok' or 'failed', not '{row['status']}'")
    columns = []
    for field in SCHEMA:
        try:
            columns.append(pa.array([_storable(row.get(field.name)) for row in complete], field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise StorageError(f"column '{field.name}' of the metrics holds {field.type}: {error}") from error
    uris.write_bytes(uri, parquet.to_bytes(pa.table(columns, schema=SCHEMA)), commit=True)


def _storable(value: Any) -> Any:
    return uris.printable(value) if isinstance(value, str) else value


def shard_files(run_dir: str) -> list[tuple[str, re.Match[str]]]:
    """(URI, match of flow, run and number) of every committed shard."""
    root = uris.join(run_dir, "metrics")
    if not uris.exists(root):
        return []
    return [
        (uris.join(root, name), match) for name in uris.list_files(root) if (match := _SHARD.fullmatch(name))
    ]


def finished_shards(run_dir: str, flow: str, run: str) -> set[int]:
    """Numbers of the shards that are committed."""
    return {int(match[3]) for _, match in shard_files(run_dir) if (match[1], match[2]) == (flow, run)}


def read_metrics(run_dir: str) -> pd.DataFrame:
    """All rows of a run folder, with the columns flow and run.

    Columns that older files lack are null, columns that only newer files have are kept. Whole numbers stay whole
    (nullable Int64). Raises StorageError when there are no metrics, StoreCorrupt when a file cannot be read.
    """
    files = shard_files(run_dir)
    if not files:
        raise StorageError(
            f"{run_dir} holds no metrics: is it the output folder of a run, and has a shard finished?"
        )
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(lambda file: read_shard(file[0], file[1][1], file[1][2]), files))
    whole = pa.concat_tables(tables, promote_options="permissive")
    # Without this a column of integers with nulls becomes floats, and large seeds change.
    return whole.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def read_shard(uri: str, flow: str, run: str) -> pa.Table:
    """The rows of one file, in today's columns. Raises StoreCorrupt when it cannot be read."""
    try:
        table = parquet.from_bytes(uris.read_bytes(uri))
        columns = {
            name: table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)
            for name, kind in KEYS + VALUES
        }
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        why = " ".join(str(error).split())
        raise StoreCorrupt(
            f"{uri} cannot be read ({why}): delete it and run again to redo the shard"
        ) from error
    columns |= {name: table[name] for name in table.column_names if name not in columns}
    columns["flow"] = pa.array([flow] * len(table), pa.string())
    columns["run"] = pa.array([run] * len(table), pa.string())
    return pa.table(columns)


def write_table(uri: str, table: pd.DataFrame) -> None:
    """Any other table, such as evaluation results; whole or absent (curves: `storage.curves`).

    Kept out of RUN/metrics, so that readers of that folder see rows of one schema.
    """
    uris.write_bytes(uri, parquet.to_bytes(pa.Table.from_pandas(table, preserve_index=False)))
