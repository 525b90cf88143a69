"""Latent codes of a dataset in a sharded, checksummed Zarr store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from storage import uris
from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from storage.plan import compare

SCHEMA_VERSION = 1


class LatentStore:
    """w ∈ W+ of N images: `w` [N, num_ws, w_dim] float32, `ok` [N] (0 where the image failed), `done` per shard.

    The ids and the provenance are attributes. One shard of the run is one shard of the store.
    """

    def __init__(self, uri: str, group: zarr.Group) -> None:
        self.uri, self._group = uri, group
        self.attrs: dict[str, Any] = dict(group.attrs)
        if self.attrs.get("schema_version") != SCHEMA_VERSION:
            raise StoreCorrupt(
                f"{uri} has schema version {self.attrs.get('schema_version')}, this program reads {SCHEMA_VERSION}"
            )
        self.ids: list[str] = list(self.attrs["ids"])
        self.shard_size = int(self.attrs["shard_size"])
        self._row = {image_id: row for row, image_id in enumerate(self.ids)}

    @staticmethod
    def exists(uri: str) -> bool:
        """Whether a complete (though perhaps unfilled) store is there."""
        return uris.exists(uris.join(uri, "ready.json"))

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
        """Make an empty store for the given image ids; `attrs` say where the codes come from."""
        group = zarr.open_group(uris.zarr_store(uri), mode="w", zarr_format=3)
        group.create_array(
            "w",
            shape=(len(ids), num_ws, w_dim),
            chunks=(1, num_ws, w_dim),
            shards=(shard_size, num_ws, w_dim),
            dtype="float32",
            fill_value=0,
            compressors=[ZstdCodec(level=3, checksum=True)],
            dimension_names=("image", "row", "latent"),
        )
        group.create_array(
            "ok",
            shape=(len(ids),),
            chunks=(shard_size,),
            dtype="uint8",
            fill_value=0,
            dimension_names=("image",),
        )
        shards = -(-len(ids) // shard_size)
        group.create_array(
            "done", shape=(shards,), chunks=(1,), dtype="uint8", fill_value=0, dimension_names=("shard",)
        )
        group.attrs.update(
            {**attrs, "ids": list(ids), "shard_size": shard_size, "schema_version": SCHEMA_VERSION}
        )
        uris.write_bytes(uris.join(uri, "ready.json"), b"{}\n")
        return cls(uri, group)

    @classmethod
    def open(cls, uri: str, expected: Mapping[str, Any] | None = None) -> LatentStore:
        """Open a store; raises StorageError when there is none, PlanMismatch when `expected` attributes differ."""
        if not cls.exists(uri):
            raise StorageError(f"no latents store at {uri}: make one with `styleclip invert`")
        store = cls(uri, zarr.open_group(uris.zarr_store(uri), mode="a"))
        if expected is not None:
            earlier = {key: store.attrs.get(key) for key in expected}
            if differences := compare(earlier, dict(expected)):
                raise PlanMismatch(
                    f"the latents store {uri} was made otherwise ({'; '.join(differences[:3])}): choose another output"
                )
        return store

    def write_shard(self, shard: int, w: np.ndarray, ok: np.ndarray) -> None:
        """Write one whole shard, w [n, num_ws, w_dim] and ok [n], and then its done mark."""
        start = shard * self.shard_size
        part = slice(start, min(start + self.shard_size, len(self.ids)))
        assert len(w) == len(ok) == part.stop - part.start, (w.shape, ok.shape, part)
        self._array("w")[part] = w.astype(np.float32)
        self._array("ok")[part] = ok.astype(np.uint8)
        self._array("done")[shard] = 1

    def missing_shards(self) -> list[int]:
        """Numbers of the shards that are not done."""
        return np.flatnonzero(self._read("done", slice(None)) == 0).tolist()

    def read(self, which: slice | Sequence[str] = slice(None)) -> np.ndarray:
        """Codes float32 [n, num_ws, w_dim], by position or by image id.

        Raises StorageError for an id that the store does not hold, or whose image failed.
        """
        if isinstance(which, slice):
            return self._read("w", which)
        unknown = [image_id for image_id in which if image_id not in self._row]
        if unknown:
            raise StorageError(f"{self.uri} holds no code for image '{unknown[0]}'")
        rows = np.asarray([self._row[image_id] for image_id in which], dtype=np.int64)
        failed = rows[self._read("ok", slice(None))[rows] == 0]
        if len(failed):
            raise StorageError(
                f"{self.uri}: image '{self.ids[failed[0]]}' was not inverted, so it has no code"
            )
        return self._read("w", slice(None))[rows]

    @property
    def ok(self) -> np.ndarray:
        """bool [N]: which images have a code."""
        return self._read("ok", slice(None)).astype(bool)

    def _array(self, name: str) -> zarr.Array:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array

    def _read(self, name: str, part: slice) -> np.ndarray:
        try:
            return np.asarray(self._array(name)[part])
        except (RuntimeError, ValueError, OSError) as error:
            raise StoreCorrupt(
                f"{uris.join(self.uri, name)} is damaged ({error}): invert the images again into another folder"
            ) from error
