"""Curves, one row per step of something that took many: optimization and training. Parquet, beside the metrics."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pyarrow as pa

from storage import parquet, uris
from storage.errors import StorageError, StoreCorrupt

CURVES_VERSION = 1
READERS = 8
"""Threads that read the files of a run: mostly they wait for a disk or a network."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_FILE = re.compile(r"flow=([^/]+)/([^/]+)\.parquet")
_OURS = {"flow", "part", "curves_version"}


def write_curves(run_dir: str, flow: str, part: str, frame: pd.DataFrame) -> None:
    """Write RUN/curves/flow=FLOW/PART.parquet, whole or not at all; the same part replaces what was there.

    The columns are the caller's own, for example (edit, image_id, step, loss). Raises StorageError for a name that
    is no file name and for a column called flow, part or curves_version, which the reader adds.
    """
    for name in (flow, part):
        if not _NAME.fullmatch(name):
            raise StorageError(f"'{name}' cannot name curves: use letters, digits, '.', '_' and '-'")
    if taken := sorted(_OURS & set(map(str, frame.columns))):
        raise StorageError(f"curves cannot have a column '{taken[0]}': the reader adds one of that name")
    table = pa.Table.from_pandas(frame.assign(curves_version=CURVES_VERSION), preserve_index=False)
    uris.write_bytes(uris.join(run_dir, "curves", f"flow={flow}", f"{part}.parquet"), parquet.to_bytes(table))


def curves_exist(run_dir: str, flow: str, part: str) -> bool:
    """Whether `write_curves` has written this part."""
    return uris.exists(uris.join(run_dir, "curves", f"flow={flow}", f"{part}.parquet"))


def read_curves(run_dir: str) -> pd.DataFrame:
    """All curves of a run folder, with the columns flow and part, in the order of these and of the rows.

    Columns that only some files have are null in the others. Raises StorageError when there are none, StoreCorrupt
    when a file cannot be read or was written by a newer version.
    """
    root = uris.join(run_dir, "curves")
    names = sorted(uris.list_files(root)) if uris.exists(root) else []
    files = [(name, match) for name in names if (match := _FILE.fullmatch(name))]
    if not files:
        raise StorageError(f"{run_dir} holds no curves: only optimization and training write them")
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(lambda file: _read(uris.join(root, file[0]), file[1][1], file[1][2]), files))
    whole = pa.concat_tables(tables, promote_options="permissive")
    return whole.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def _read(uri: str, flow: str, part: str) -> pa.Table:
    try:
        table = parquet.from_bytes(uris.read_bytes(uri))
        version = table["curves_version"][0].as_py() if len(table) else CURVES_VERSION
    except (pa.ArrowException, OSError, KeyError) as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        why = " ".join(str(error).split())
        raise StoreCorrupt(
            f"{uri} cannot be read ({why}): delete it; a run of the same part writes it again"
        ) from error
    if version > CURVES_VERSION:
        raise StoreCorrupt(
            f"{uri} is of version {version}, this program reads up to {CURVES_VERSION}: update it"
        )
    table = table.drop_columns(["curves_version"])
    # pandas' own notes would claim columns that are gone, and differ between files
    table = table.replace_schema_metadata(None)
    for name, value in (("flow", flow), ("part", part)):
        table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table
