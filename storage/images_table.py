"""Images as they are listed: a table of ids, names and versions, a fraction of the memory of as many objects."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

IMAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        # Bytes, because file names need not be UTF-8; relative to the header's root.
        pa.field("name", pa.binary(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)
"""What is known of an image when a run is planned; `version` changes whenever the file is written again."""
HASHED = "sha256:"
"""Begins a version that is the hash of the content: what plans of version 1 knew an image by."""


def file_name(name: str) -> bytes:
    """A file name as it stands in the table."""
    return name.encode("utf-8", "surrogateescape")


def images_table(ids: Sequence[str], names: Sequence[str], versions: Sequence[str]) -> pa.Table:
    """Images as a table, in the order given."""
    columns = [pa.array(ids, pa.string()), pa.array(map(file_name, names), pa.binary())]
    return pa.table([*columns, pa.array(versions, pa.string())], schema=IMAGES)
