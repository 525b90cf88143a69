"""Latent codes of a dataset in a sharded, checksummed Zarr store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from storage import arrays, uris
from storage.errors import StorageError

SCHEMA_VERSION = 1
KIND = "latents"
_HOW = "styleclip invert"


class LatentStore:
    """w ∈ W+ of N images: `w` [N, num_ws, w_dim] float32, `ok` [N] (0 where the image failed), `done` per shard.

    The ids and the provenance are attributes. One shard of the run is one shard of the store, and its done mark is
    written after its data. Every reader raises StoreCorrupt, with the name of the file, for damaged and lost files.
    """

    def __init__(self, uri: str, group: zarr.Group) -> None:
        self.uri, self._group = uri, group
        self.attrs: dict[str, Any] = dict(group.attrs)
        self.ids: list[str] = list(self.attrs["ids"])
        self.shard_size = int(self.attrs["shard_size"])
        self._row = {image_id: row for row, image_id in enumerate(self.ids)}

    @staticmethod
    def exists(uri: str) -> bool:
        """Whether a complete (though perhaps unfilled) store is there."""
        return arrays.is_ready(uri)

    @classmethod
    def create(
        cls,
        uri: str,
        ids: Sequence[str],
        num_ws: int,
        w_dim: int,
        attrs: Mapping[str, Any],
        shard_size: int = 32,
    ) -> LatentStore:
        """Make an empty store for the given image ids; `attrs` say where the codes come from.

        A store whose making was cut off is overwritten, anything else is not: StorageError then, for ids that are
        not unique, and when the place cannot be written.
        """
        count = len(ids)
        assert count > 0 and num_ws > 0 and w_dim > 0 and shard_size > 0, (count, num_ws, w_dim, shard_size)
        if len(set(ids)) < count:
            raise StorageError(
                f"{uri}: the ids of the images are not unique, so their codes could not be told apart"
            )
        group = arrays.new_group(uri, KIND)
        dims = ("image", "row", "latent")
        with uris.explained(uri):
            # A chunk per image, so that one image's code is read without its neighbours'.
            shape = (count, num_ws, w_dim)
            arrays.make_array(group, "w", shape, "float32", dims, rows=shard_size, chunk=1)
            arrays.make_array(group, "ok", (count,), "uint8", dims[:1], rows=shard_size, chunk=shard_size)
            shards = -(-count // shard_size)
            arrays.make_array(group, "done", (shards,), "uint8", ("shard",), rows=1, chunk=1)
            arrays.make_ready(group, {**attrs, "ids": list(ids), "shard_size": shard_size}, SCHEMA_VERSION)
        return cls(uri, group)

    @classmethod
    def open(cls, uri: str, expected: Mapping[str, Any] | None = None) -> LatentStore:
        """Open a store; with `expected`, check that it belongs to that computation.

        Raises StorageError when there is none, StoreCorrupt when it is something else or was cut off while it was
        made, PlanMismatch (naming what differs) when it belongs to another computation.
        """
        return cls(uri, arrays.open_group(uri, KIND, SCHEMA_VERSION, _HOW, expected))

    def write_shard(self, shard: int, w: np.ndarray, ok: np.ndarray) -> None:
        """Write one whole shard, w [n, num_ws, w_dim] and ok [n], and then its done mark.

        Raises StorageError, and writes nothing, when the code of an image that is ok is not finite.
        """
        part = self._part(shard)
        assert w.shape == (part.stop - part.start, *self._array("w").shape[1:]), (w.shape, part)
        assert ok.shape == w.shape[:1], (ok.shape, w.shape)
        good = ok.astype(bool)
        bad = np.flatnonzero(good & ~np.isfinite(w).all(axis=(1, 2)))
        if len(bad):
            raise StorageError(
                f"{self.uri}: the code of image '{self.ids[part.start + bad[0]]}' is not finite: "
                "are the weights of the encoder sound?"
            )
        with uris.explained(self.uri):
            self._array("w")[part] = np.where(good[:, None, None], w, 0).astype(np.float32)
            self._array("ok")[part] = good.astype(np.uint8)
            self._array("done")[shard] = 1

    def missing_shards(self) -> list[int]:
        """Numbers of the shards that are not done."""
        return np.flatnonzero(self._read("done", slice(None), written=False) == 0).tolist()

    def read(self, which: slice | Sequence[str] = slice(None)) -> np.ndarray:
        """Codes float32 [n, num_ws, w_dim], by position or by image id.

        By position, images without a code (see `ok`) are zeros. By id, StorageError for an id that the store does
        not hold, whose image failed, or whose shard is not done.
        """
        if isinstance(which, slice):
            rows = np.arange(len(self.ids))[which]
        else:
            unknown = [image_id for image_id in which if image_id not in self._row]
            if unknown:
                raise StorageError(f"{self.uri} holds no code for image '{unknown[0]}'")
            rows = np.asarray([self._row[image_id] for image_id in which], dtype=np.int64)
        pending = np.isin(rows // self.shard_size, self.missing_shards())
        if isinstance(which, slice):
            return self._read("w", which, written=not pending.any())
        if pending.any():
            raise StorageError(
                f"{self.uri}: image '{self.ids[rows[pending][0]]}' is not inverted yet; run invert again to finish"
            )
        failed = rows[~self.ok[rows]]
        if len(failed):
            raise StorageError(
                f"{self.uri}: image '{self.ids[failed[0]]}' was not inverted, so it has no code"
            )
        # Zarr wants each row once and in order.
        each, back = np.unique(rows, return_inverse=True)
        return self._read("w", each)[back]

    @property
    def shape(self) -> tuple[int, int]:
        """(num_ws, w_dim) of every code."""
        rows, dim = self._array("w").shape[1:]
        return rows, dim

    @property
    def ok(self) -> np.ndarray:
        """bool [N]: which images have a code."""
        return self._read("ok", slice(None), written=not self.missing_shards()).astype(bool)

    def _part(self, shard: int) -> slice:
        start = shard * self.shard_size
        assert 0 <= start < len(self.ids), shard
        return slice(start, min(start + self.shard_size, len(self.ids)))

    def _array(self, name: str) -> zarr.Array:
        return arrays.get_array(self.uri, self._group, name)

    def _read(self, name: str, rows: slice | np.ndarray, written: bool = True) -> np.ndarray:
        return arrays.read_rows(self.uri, self._array(name), rows, written)
