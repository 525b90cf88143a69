"""Metrics as a Parquet dataset: one row per (image, edit), one file per shard, written last and at once."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from storage import uris
from storage.errors import StorageError, StoreCorrupt

SCHEMA_VERSION = 1

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
    ("alpha", pa.float64()),
    ("beta", pa.float64()),
    ("channels_used", pa.int64()),
    ("seed", pa.int64()),
    ("output", pa.string()),
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
_SHARD = re.compile(r"flow=([^/]+)/run=r-([^/]+)/shard-(\d+)\.parquet$")


def _shard_uri(run_dir: str, flow: str, run: str, shard: int) -> str:
    # Without the prefix a run called "001" would come back as the number 1.
    return uris.join(run_dir, "metrics", f"flow={flow}", f"run=r-{run}", f"shard-{shard:05d}.parquet")


def write_shard(run_dir: str, flow: str, run: str, shard: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Commit a shard: its rows in one file, under a temporary name first. A shard without its file never happened.

    Missing optional values become null; an unknown column is an error here rather than lost in a reader.
    """
    complete = [{**row, "schema_version": SCHEMA_VERSION} for row in rows]
    for row in complete:
        if unknown := set(row) - set(SCHEMA.names):
            raise StorageError(f"metrics have no column {', '.join(sorted(unknown))}")
    table = pa.Table.from_pylist(complete, schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    uris.write_bytes(_shard_uri(run_dir, flow, run, shard), buffer.getvalue())


def _files(run_dir: str) -> list[tuple[str, re.Match[str]]]:
    fs, root = uris.filesystem(uris.join(run_dir, "metrics"))
    if not fs.exists(root):
        return []
    return [(path, match) for path in sorted(fs.find(root)) if (match := _SHARD.search(path))]


def finished_shards(run_dir: str, flow: str, run: str) -> set[int]:
    """Numbers of the shards that are committed."""
    return {int(match[3]) for _, match in _files(run_dir) if (match[1], match[2]) == (flow, run)}


def read_metrics(run_dir: str) -> pd.DataFrame:
    """All rows of a run folder, with the columns flow and run; columns that older files lack are null.

    Raises StorageError when there are none, StoreCorrupt when a file cannot be read.
    """
    files = _files(run_dir)
    if not files:
        raise StorageError(f"{run_dir} holds no metrics")
    fs, _ = uris.filesystem(run_dir)
    tables = []
    for path, match in files:
        try:
            table = pq.read_table(io.BytesIO(fs.cat_file(path)))
        except (pa.ArrowException, OSError) as error:
            raise StoreCorrupt(
                f"{path} cannot be read ({error}); delete it and run again to redo the shard"
            ) from error
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in SCHEMA
        ]
        nullable = pa.schema([pa.field(field.name, field.type) for field in SCHEMA])
        whole = pa.table(columns, schema=nullable)
        whole = whole.append_column("flow", pa.array([match[1]] * len(table), pa.string()))
        tables.append(whole.append_column("run", pa.array([match[2]] * len(table), pa.string())))
    return pa.concat_tables(tables).to_pandas()


def write_table(uri: str, table: pd.DataFrame) -> None:
    """Any other table, curves and evaluation results, as one Parquet file; whole or absent."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    uris.write_bytes(uri, buffer.getvalue())
