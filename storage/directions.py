"""Channel directions in a sharded, checksummed Zarr store that can be written block by block and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from storage import uris
from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from storage.plan import compare

SCHEMA_VERSION = 1
CHUNK_ROWS = 64
_BLOCK_ARRAYS = ("sum", "count", "resultant", "magnitude")


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in ("styleclip-flows", "zarr", "numpy", "torch", "open-clip-torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


class DirectionStore:
    """Δi_c of every convolution channel (paper §6), with what is needed to trust and to refine them.

    Arrays: `sum` [C, D] of unit differences, `count` [C], `resultant` [C] (‖sum‖ / count), `magnitude` [C, D] (sum of
    the differences before they are made unit), `style_mean` [C], `style_std` [C], `layer` [C], `channel` [C],
    finished `directions` [C, D], and `done` [blocks]. A block is one shard, so that two writers never share one, and
    its done mark is written after its data.
    """

    def __init__(self, uri: str, group: zarr.Group) -> None:
        self.uri, self._group = uri, group
        attrs: dict[str, Any] = dict(group.attrs)
        if attrs.get("schema_version") != SCHEMA_VERSION:
            raise StoreCorrupt(
                f"{uri} has schema version {attrs.get('schema_version')}, this program reads {SCHEMA_VERSION}"
            )
        self.attrs = attrs
        self.block = int(attrs["block"])

    @staticmethod
    def exists(uri: str) -> bool:
        """Whether a store with its statistics is there (they are written when it is made)."""
        return uris.exists(uris.join(uri, "ready.json"))

    @classmethod
    def create(
        cls,
        uri: str,
        *,
        layer_names: Sequence[str],
        layer: np.ndarray,
        channel: np.ndarray,
        dim: int,
        mean: np.ndarray,
        std: np.ndarray,
        attrs: Mapping[str, Any],
        block: int = 256,
    ) -> DirectionStore:
        """Make an empty store for C = len(std) channels of D = `dim`; `attrs` identify the computation.

        `layer` [C] are positions in `layer_names`, `channel` [C] numbers inside the layer. An unfinished store
        without its ready mark is overwritten. Raises StorageError when the place cannot be written.
        """
        count = len(std)
        try:
            group = zarr.open_group(uris.zarr_store(uri), mode="w", zarr_format=3)
            blocks = -(-count // block)
            for name, dtype, wide in (
                ("sum", "float32", True),
                ("magnitude", "float32", True),
                ("directions", "float32", True),
                ("count", "int64", False),
                ("resultant", "float32", False),
            ):
                _make(group, name, (count, dim) if wide else (count,), dtype, block)
            for name, values in (
                ("style_mean", np.asarray(mean, np.float32)),
                ("style_std", np.asarray(std, np.float32)),
                ("layer", np.asarray(layer, np.int32)),
                ("channel", np.asarray(channel, np.int32)),
            ):
                _make(group, name, (count,), str(values.dtype), block)[:] = values
            group.create_array(
                "done", shape=(blocks,), chunks=(1,), dtype="uint8", fill_value=0, dimension_names=("block",)
            )
            group.attrs.update(
                {
                    **attrs,
                    "schema_version": SCHEMA_VERSION,
                    "block": block,
                    "layer_names": list(layer_names),
                    "versions": _package_versions(),
                }
            )
            # Last of all: a store without this mark was cut off while it was made.
            uris.write_bytes(uris.join(uri, "ready.json"), b"{}\n")
        except OSError as error:
            raise StorageError(f"the directions store {uri} cannot be written: {error}") from error
        return cls(uri, group)

    @classmethod
    def open(cls, uri: str, expected: Mapping[str, Any] | None = None) -> DirectionStore:
        """Open a store; with `expected`, check that it belongs to that computation.

        Raises StorageError when there is none, PlanMismatch (naming what differs) when it is another one.
        """
        if not uris.exists(uri):
            raise StorageError(
                f"no directions store at {uri}: make one with `styleclip precompute --output {uri}`"
            )
        try:
            group = zarr.open_group(uris.zarr_store(uri), mode="r+" if not uris.is_remote(uri) else "a")
        except (OSError, KeyError, ValueError, zarr.errors.BaseZarrError) as error:
            raise StoreCorrupt(f"{uri} is not a directions store ({error})") from error
        store = cls(uri, group)
        if expected is not None:
            earlier = {key: store.attrs.get(key) for key in expected}
            if differences := compare(earlier, dict(expected)):
                raise PlanMismatch(
                    f"the directions store {uri} was made otherwise ({'; '.join(differences[:3])}): "
                    "choose another output, or repeat the earlier call to continue it"
                )
        return store

    @property
    def block_slices(self) -> list[slice]:
        """The channels of each block."""
        count = self._array("style_std").shape[0]
        return [slice(i, min(i + self.block, count)) for i in range(0, count, self.block)]

    def missing_blocks(self) -> list[int]:
        """Numbers of the blocks that are not done."""
        return np.flatnonzero(self._read("done") == 0).tolist()

    def write_block(
        self, block: int, sum_: np.ndarray, count: np.ndarray, resultant: np.ndarray, magnitude: np.ndarray
    ) -> None:
        """Write one whole block, [c, D] and [c], and then its done mark."""
        part = self.block_slices[block]
        for name, values in zip(_BLOCK_ARRAYS, (sum_, count, resultant, magnitude), strict=True):
            array = self._array(name)
            assert len(values) == part.stop - part.start, (name, values.shape, part)
            array[part] = values.astype(array.dtype)
        self._array("done")[block] = 1

    def finalize(self) -> None:
        """Write `directions`: unit rows of `sum`. Raises StorageError when blocks are missing."""
        if missing := self.missing_blocks():
            raise StorageError(
                f"{self.uri}: {len(missing)} blocks are not done; run precompute again to finish them"
            )
        total = self._read("sum")
        length = np.linalg.norm(total, axis=1, keepdims=True)
        self._array("directions")[:] = total / np.maximum(length, 1e-12)
        self._group.attrs["finished"] = True
        self.attrs["finished"] = True

    def directions(self) -> np.ndarray:
        """Δi_c, float32 [C, D], unit rows. Raises StorageError when the store is not finished."""
        if not self.attrs.get("finished"):
            missing, total = len(self.missing_blocks()), len(self.block_slices)
            raise StorageError(
                f"{self.uri} is not finished ({missing} of {total} blocks missing): run precompute again to finish it"
            )
        return self._read("directions")

    @property
    def mean(self) -> np.ndarray:
        """Mean of each style channel, float32 [C]."""
        return self._read("style_mean")

    @property
    def std(self) -> np.ndarray:
        """Standard deviation σ_c of each style channel, float32 [C]."""
        return self._read("style_std")

    @property
    def resultant(self) -> np.ndarray:
        """Reliability of each channel in [0, 1], float32 [C]."""
        return self._read("resultant")

    @property
    def count(self) -> np.ndarray:
        """Images that each channel's sum is over, int64 [C]."""
        return self._read("count")

    def magnitude(self) -> np.ndarray:
        """Mean unnormalised difference of each channel, float32 [C, D]."""
        return self._read("magnitude") / np.maximum(self.count, 1)[:, None].astype(np.float32)

    def _array(self, name: str) -> zarr.Array:
        try:
            array = self._group[name]
        except KeyError as error:
            raise StoreCorrupt(f"{self.uri} lacks the array '{name}'; make the store again") from error
        assert isinstance(array, zarr.Array)
        return array

    def _read(self, name: str) -> np.ndarray:
        try:
            return np.asarray(self._array(name)[:])
        except (RuntimeError, ValueError, OSError) as error:
            raise StoreCorrupt(
                f"{uris.join(self.uri, name)} is damaged ({error}): restore it from a copy or make the store again"
            ) from error


def _make(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str, block: int) -> zarr.Array:
    rows = min(CHUNK_ROWS, block)
    # A shard holds whole chunks; a block that is no multiple of the chunk becomes one chunk.
    rows = rows if block % rows == 0 else block
    return group.create_array(
        name,
        shape=shape,
        chunks=(rows, *shape[1:]),
        shards=(block, *shape[1:]),
        dtype=dtype,
        fill_value=0,
        compressors=[ZstdCodec(level=3, checksum=True)],
        dimension_names=("style_channel", "embedding")[: len(shape)],
    )
