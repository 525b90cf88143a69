"""Latent codes of a dataset in a sharded, checksummed Zarr store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from storage import arrays, uris
from storage.errors import Damage, StorageError, StoreCorrupt

SCHEMA_VERSION = 1
KIND = "latents"
_HOW = "styleclip invert"
_FEW = 8
_ID = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,138}[A-Za-z0-9_-])?")


def bad_ids(ids: Sequence[Any]) -> list[Any]:
    """Those that cannot be ids: ids name files, and those of somebody else's store must not lead out of a folder."""
    return [id_ for id_ in ids if not (isinstance(id_, str) and _ID.fullmatch(id_))]


class LatentStore:
    """w ∈ W+ of N images: `w` [N, num_ws, w_dim] float32, `ok` [N] (0 where the image failed), `done` per shard.

    The ids and the provenance are attributes. One shard of the run is one shard of the store, and its done mark is
    written after its data. A store that has grown (`grow_to`) has parts, each from a shard of its own on; `ids` are
    then those that are there now, and of an image that was inverted again the last code counts. Every reader raises
    StoreCorrupt, with the name of the file, for damaged and lost files.
    """

    def __init__(self, uri: str, group: zarr.Group) -> None:
        self.uri, self._group = uri, group
        self.attrs: dict[str, Any] = dict(group.attrs)
        self.shard_size = int(self.attrs["shard_size"])
        later = [(int(part["first_shard"]), part["ids"]) for part in self.attrs.get("later", [])]
        self._parts: list[tuple[int, list[str]]] = [(0, list(self.attrs["ids"])), *later]
        for _, ids in self._parts:
            if bad := bad_ids(ids):
                raise StoreCorrupt(
                    f"{uri} holds {str(bad[0])[:80]!r} as the id of an image, which cannot name a file: do not use it"
                )
        self._row = {
            image_id: first * self.shard_size + place
            for first, ids in self._parts
            for place, image_id in enumerate(ids)
        }
        for image_id in self.attrs.get("gone", []):
            self._row.pop(image_id, None)
        self.ids: list[str] = sorted(self._row) if later else list(self._row)
        self._rows = np.fromiter((self._row[image_id] for image_id in self.ids), np.int64, len(self.ids))
        # What is done stays done: once all shards are, their marks are not read again (one file for each).
        self._whole = False
        self._ok: np.ndarray | None = None

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

        Where another process has just made the same store, that one is opened. Nothing is overwritten: StorageError
        then, for ids that are not unique or cannot name files, and when the place cannot be written.
        """
        count = len(ids)
        assert count > 0 and num_ws > 0 and w_dim > 0 and shard_size > 0, (count, num_ws, w_dim, shard_size)
        if len(set(ids)) < count:
            raise StorageError(
                f"{uri}: the ids of the images are not unique, so their codes could not be told apart"
            )
        if bad := bad_ids(ids):
            raise StorageError(f"{uri}: {str(bad[0])[:80]!r} cannot be the id of an image: it names files")
        about = {**attrs, "ids": list(ids), "shard_size": shard_size}
        dims = ("image", "row", "latent")
        with arrays.new_group(uri, KIND) as group:
            # A chunk per image, so that one image's code is read without its neighbours'.
            shape = (count, num_ws, w_dim)
            arrays.make_array(group, "w", shape, "float32", dims, rows=shard_size, chunk=1)
            arrays.make_array(group, "ok", (count,), "uint8", dims[:1], rows=shard_size, chunk=shard_size)
            shards = -(-count // shard_size)
            arrays.make_array(group, "done", (shards,), "uint8", ("shard",), rows=1, chunk=1)
            arrays.make_ready(group, about, SCHEMA_VERSION)
        return cls.open(uri, about)

    @classmethod
    def open(cls, uri: str, expected: Mapping[str, Any] | None = None) -> LatentStore:
        """Open a store; with `expected`, check that it belongs to that computation.

        Raises StorageError when there is none, StoreCorrupt when it is something else or was cut off while it was
        made, PlanMismatch (naming what differs) when it belongs to another computation.
        """
        return cls(uri, arrays.open_group(uri, KIND, SCHEMA_VERSION, _HOW, expected))

    def grow_to(self, parts: Sequence[tuple[int, Sequence[str]]], gone: Sequence[str]) -> LatentStore:
        """The store with these parts, (first shard, ids) each, the first one as it is; and without the images `gone`.

        Nothing that is there moves. Raises StoreCorrupt when the store holds other parts.
        """
        wanted = [(first, list(ids)) for first, ids in parts]
        if wanted[: len(self._parts)] != self._parts:
            raise StoreCorrupt(
                f"{self.uri} holds other images than the plan of its run: delete it and run again"
            )
        later = [{"first_shard": first, "ids": ids} for first, ids in wanted[1:]]
        about: dict[str, Any] = {"later": later, "gone": sorted(gone)}
        if about == {"later": self.attrs.get("later", []), "gone": self.attrs.get("gone", [])}:
            return self
        first, ids = wanted[-1]
        shards = first + -(-len(ids) // self.shard_size)
        with uris.explained(self.uri):
            for name, count in (
                ("w", shards * self.shard_size),
                ("ok", shards * self.shard_size),
                ("done", shards),
            ):
                array = self._array(name)
                if array.shape[0] < count:
                    array.resize((count, *array.shape[1:]))
            # Last: what opens the store now finds room for all of it.
            self._group.attrs.update(about)
        return LatentStore.open(self.uri)

    def write_shard(self, shard: int, w: np.ndarray, ok: np.ndarray) -> None:
        """Write one whole shard, w [n, num_ws, w_dim] and ok [n], and then its done mark.

        Raises StorageError, and writes nothing, when the code of an image that is ok is not finite.
        """
        part, ids = self._part(shard)
        assert w.shape == (part.stop - part.start, *self._array("w").shape[1:]), (w.shape, part)
        assert ok.shape == w.shape[:1], (ok.shape, w.shape)
        good = ok.astype(bool)
        bad = np.flatnonzero(good & ~np.isfinite(w).all(axis=(1, 2)))
        if len(bad):
            raise StorageError(
                f"{self.uri}: the code of image '{ids[bad[0]]}' is not finite: are the weights of the encoder sound?"
            )
        self._ok = None
        with uris.explained(self.uri):
            arrays.write_rows(self.uri, self._array("w"), part, np.where(good[:, None, None], w, 0))
            arrays.write_rows(self.uri, self._array("ok"), part, good)
            arrays.write_rows(self.uri, self._array("done"), slice(shard, shard + 1), 1)

    def missing_shards(self) -> list[int]:
        """Numbers of the shards that are not done and hold an image that counts. One listing, not a file for each."""
        if self._whole:
            return []
        folder = uris.join(self.uri, "done", "c")
        names = uris.list_files(folder) if uris.exists(folder) else []
        done = np.array([int(name) for name in names if name.isdigit()], np.int64)
        shards = np.unique(self._rows // self.shard_size)
        missing: list[int] = shards[~np.isin(shards, done)].tolist()
        self._whole = not missing
        return missing

    def damages(self) -> list[Damage]:
        """Files that cannot be read, each with the shard that makes it again."""
        marks = self._array("done")
        found = arrays.damages(self.uri, marks, range(marks.shape[0]), written=False)
        unsure = {damage.shard for damage in found}
        done = [number for number in range(marks.shape[0]) if number not in unsure and marks[number]]
        return found + [
            damage for name in ("w", "ok") for damage in arrays.damages(self.uri, self._array(name), done)
        ]

    def discard(self, damages: Sequence[Damage]) -> None:
        """Take away damaged files and the done marks of their shards, which then are missing shards."""
        self._whole, self._ok = False, None
        for damage in damages:
            if damage.shard is not None:
                uris.remove(arrays.shard_file(self.uri, self._array("done"), damage.shard))
                uris.remove(damage.file)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._row

    def read(self, which: slice | Sequence[str] = slice(None)) -> np.ndarray:
        """Codes float32 [n, num_ws, w_dim], by position or by image id.

        By position, images without a code (see `ok`) are zeros. By id, StorageError for an id that the store does
        not hold, whose image failed, or whose shard is not done.
        """
        rows = self._rows[which] if isinstance(which, slice) else self._rows_of(which)
        pending = np.isin(rows // self.shard_size, self.missing_shards())
        if isinstance(which, slice):
            return self._read_any("w", rows, written=not pending.any())
        if pending.any():
            where = int(np.argmax(pending))
            raise StorageError(
                f"{self.uri}: image '{which[where]}' is not inverted yet; run invert again to finish"
            )
        ok = self._read_any("ok", rows).astype(bool)
        if not ok.all():
            lost = which[int(np.argmin(ok))]
            raise StorageError(f"{self.uri}: image '{lost}' was not inverted, so it has no code")
        return self._read_any("w", rows)

    def codes_of(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(codes float32 [n, num_ws, w_dim], ok bool [n]) of images of a finished store; zeros where not ok.

        Reads the shards of these images only. Raises StorageError for an id that the store does not hold.
        """
        rows = self._rows_of(ids)
        return self._read_any("w", rows), self._read_any("ok", rows).astype(bool)

    def versions(self, ids: Sequence[str]) -> list[str]:
        """For each image the version (`uris.look_at`) of the file that holds its code: another one once it is written
        again. For many images one listing, for few a look at each file."""
        shards = self._rows_of(ids) // self.shard_size
        array, each = self._array("w"), np.unique(shards).tolist()
        if len(each) <= _FEW:
            found = {shard: uris.look_at(arrays.shard_file(self.uri, array, shard))[1] for shard in each}
        else:
            listed = dict(uris.list_versions(uris.join(self.uri, "w")))
            found = {shard: listed[arrays.key_of(array, shard)] for shard in each}
        return [found[shard] for shard in shards.tolist()]

    def _rows_of(self, ids: Sequence[str]) -> np.ndarray:
        unknown = [image_id for image_id in ids if image_id not in self._row]
        if unknown:
            raise StorageError(f"{self.uri} holds no code for image '{unknown[0]}'")
        return np.asarray([self._row[image_id] for image_id in ids], dtype=np.int64)

    def _read_any(self, name: str, rows: np.ndarray, written: bool = True) -> np.ndarray:
        """Rows in any order; those that stand together are read as a slice."""
        if len(rows) and (np.diff(rows) == 1).all():
            return self._read(name, slice(int(rows[0]), int(rows[-1]) + 1), written)
        # Zarr wants each row once and in order.
        each, back = np.unique(rows, return_inverse=True)
        return self._read(name, each, written)[back]

    @property
    def shape(self) -> tuple[int, int]:
        """(num_ws, w_dim) of every code."""
        rows, dim = self._array("w").shape[1:]
        return rows, dim

    @property
    def ok(self) -> np.ndarray:
        """bool [N]: which images have a code."""
        if self._ok is not None:
            return self._ok
        missing = self.missing_shards()
        ok = self._read_any("ok", self._rows, written=not missing).astype(bool)
        if not missing:
            self._ok = ok
        return ok

    def _part(self, shard: int) -> tuple[slice, list[str]]:
        """The rows of a shard, and their ids."""
        first, ids = max((part for part in self._parts if part[0] <= shard), key=lambda part: part[0])
        start = (shard - first) * self.shard_size
        assert 0 <= start < len(ids), shard
        mine = ids[start : start + self.shard_size]
        return slice(shard * self.shard_size, shard * self.shard_size + len(mine)), mine

    def _array(self, name: str) -> zarr.Array:
        return arrays.get_array(self.uri, self._group, name)

    def _read(self, name: str, rows: slice | np.ndarray, written: bool = True) -> np.ndarray:
        return arrays.read_rows(self.uri, self._array(name), rows, written)
