"""Tables as the bytes of Parquet files in which every flipped bit is noticed.

Pages have checksums, which any reader may verify; without them 11 % of single flipped bits came back as other numbers.
The footer has none in the format (3 %: a column of another name, a page of another place), so a digest of the whole
file stands between the last page and the footer, where no reader looks.
"""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

_SEAL = b"styleclip sha256"
_DIGEST = 32


def to_bytes(table: pa.Table) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    data = buffer.getvalue()
    at = _footer(data)
    return data[:at] + _SEAL + hashlib.sha256(data).digest() + data[at:]


def from_bytes(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """The table, or those of some columns that it has; of other writers, too. Raises pa.ArrowException or OSError for
    damage."""
    at = _footer(data)
    begin = at - len(_SEAL) - _DIGEST
    if begin > 0 and data[begin:].startswith(_SEAL):
        digest = hashlib.sha256(data[:begin])
        digest.update(data[at:])
        if digest.digest() != data[at - _DIGEST : at]:
            raise pa.ArrowInvalid("its bytes are not those that were written")
    # Through bytes and without a schema of its own: a path would add its hive columns a second time.
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        there = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
        return file.read(columns=there, use_threads=False)
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _footer(data: bytes) -> int:
    """Where the footer of a Parquet file begins."""
    return max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
