"""The images of a plan as a Parquet table: one row group per shard, so that a task reads its own rows only."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage import uris
from storage.errors import StoreCorrupt
from storage.images_table import IMAGES
from storage.landmarks import Unusable

CHANGE = pa.field("change", pa.string(), nullable=False)
"""What happened to an image since the generation before: new, changed, same (with work or seen only), removed."""
WORK = pa.field("work", pa.int32(), nullable=False)
"""Number of the set of edits to make (the header's `work`); -1 for none."""
FACES = [
    pa.field("landmarks", pa.list_(pa.float64())),
    pa.field("error_class", pa.string()),
    pa.field("reason", pa.string()),
]
"""Only where faces are aligned by landmarks: x0, y0, x1, y1, …, or why there are none."""
_TAIL_ROWS = 1 << 16


def with_faces(images: pa.Table, faces: Sequence[np.ndarray | Unusable]) -> pa.Table:
    """Landmarks joined to images; they become part of the version, so that other landmarks are another image."""
    nothing = Unusable("", "")
    points = [None if isinstance(face, Unusable) else face.ravel().tolist() for face in faces]
    why = [face if isinstance(face, Unusable) else nothing for face in faces]
    versions = [
        f"{version}+{_digest(face)}"
        for version, face in zip(images["version"].to_pylist(), faces, strict=True)
    ]
    images = images.set_column(2, IMAGES.field(2), pa.array(versions, pa.string()))
    columns = [points, [each.error_class for each in why], [uris.printable(each.reason) for each in why]]
    for field, values in zip(FACES, columns, strict=True):
        images = images.append_column(field, pa.array(values, field.type))
    return images


def _digest(face: np.ndarray | Unusable) -> str:
    return (
        "none" if isinstance(face, Unusable) else hashlib.sha256(str(face.tolist()).encode()).hexdigest()[:16]
    )


def face_of(row: dict[str, object]) -> np.ndarray | Unusable | None:
    """The landmarks of a row, float64 [n, 2], or why there are none; None where faces are not looked for."""
    if "landmarks" not in row:
        return None
    if row["landmarks"] is None:
        return Unusable(str(row["error_class"]), str(row["reason"]))
    return np.asarray(row["landmarks"], np.float64).reshape(-1, 2)


def write_images(run_dir: str, groups: Iterable[pa.Table], tail: pa.Table, shard_size: int) -> str:
    """Write the shards of each group and then what has no work; the table's name in the run folder.

    It is named by its content: of two runs that plan at once neither overwrites what the other's header points to.
    """
    buffer = io.BytesIO()
    options = {
        "compression": "lz4",
        "use_dictionary": False,
        "write_statistics": False,
        "write_page_checksum": True,
    }
    with pq.ParquetWriter(buffer, tail.schema, **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=shard_size)
        if len(tail):
            writer.write_table(tail, row_group_size=_TAIL_ROWS)
    data = buffer.getvalue()
    name = f"plan/{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    uris.write_bytes(uris.join(run_dir, name), data, commit=True)
    return name


class ImagesFile:
    """A written table, open for as long as it is asked for; safe in threads."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        try:
            fs, path = uris.filesystem(uri)
            # Without read-ahead, which would fetch megabytes for the few kilobytes of a shard.
            self._file = pq.ParquetFile(
                path if not uris.is_remote(uri) else fs.open(path, "rb", cache_type="none"), pre_buffer=True,
                page_checksum_verification=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise StoreCorrupt(
                f"{uri} is gone: restore it from a copy, or use another output folder"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise _damaged(uri, error) from error

    def group(self, number: int) -> pa.Table:
        """The rows of one shard. Raises StoreCorrupt when they cannot be read."""
        return self._read(lambda: self._file.read_row_group(number))

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows. Raises StoreCorrupt when they cannot be read."""
        return self._read(lambda: self._file.read(columns=list(names)).combine_chunks())

    def _read(self, read: Callable[[], pa.Table]) -> pa.Table:
        try:
            with self._lock:
                return read()
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            raise _damaged(self.uri, error) from error


def _damaged(uri: str, error: Exception) -> StoreCorrupt:
    why = " ".join(str(error).split())[:120]
    return StoreCorrupt(f"{uri} is damaged ({why}): restore it from a copy, or use another output folder")


@functools.lru_cache(maxsize=8)
def open_images(uri: str) -> ImagesFile:
    """The table at `uri`; the same object at every call of a process, because its name says its content."""
    return ImagesFile(uri)
