"""Metrics as a Parquet dataset: one row per (image, edit), one file per shard, written last and at once.

They are read by `storage.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from storage import parquet, uris
from storage.errors import StorageError

SCHEMA_VERSION = 5
"""2: optimization and mappers (space, steps, lambda_*, learning_rate, relative, mapper), batch. 3: unknown_words. 4:
sha256 of pictures, markings of inputs; channels_why, aim, reached_value, reached. 5: generation. Older ones
are read, too."""

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
    ("generation", pa.int64()),
    ("schema_version", pa.int64()),
]
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in KEYS]
    + [pa.field(name, kind) for name, kind in VALUES]
)
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


@dataclass(frozen=True)
class ShardFile:
    """A committed shard."""

    uri: str
    flow: str
    run: str
    shard: int


def shard_files(run_dir: str) -> list[ShardFile]:
    """Every committed shard of a run folder, in the order of flow, run and number. One listing, whatever its size."""
    root = uris.join(run_dir, "metrics")
    if not uris.exists(root):
        return []
    matches = [(name, match) for name in uris.list_files(root) if (match := _SHARD.fullmatch(name))]
    found = [ShardFile(uris.join(root, name), match[1], match[2], int(match[3])) for name, match in matches]
    return sorted(found, key=lambda each: (each.flow, each.run, each.shard))


def finished_shards(run_dir: str, flow: str, run: str) -> set[int]:
    """Numbers of the shards that are committed."""
    return {each.shard for each in shard_files(run_dir) if (each.flow, each.run) == (flow, run)}


def write_table(uri: str, table: pd.DataFrame) -> None:
    """Any other table, such as evaluation results; whole or absent (curves: `storage.curves`).

    Kept out of RUN/metrics, so that readers of that folder see rows of one schema.
    """
    uris.write_bytes(uri, parquet.to_bytes(pa.Table.from_pandas(table, preserve_index=False)))
