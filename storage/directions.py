"""Channel directions in a sharded, checksummed Zarr store that can be written block by block and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import zarr

from storage import arrays, uris
from storage.errors import Damage, StorageError

SCHEMA_VERSION = 1
CHUNK_ROWS = 64
KIND = "directions"
_HOW = "styleclip precompute --output {uri}"
TORGB_ARRAYS = ("torgb_mean", "torgb_std")
_BLOCK_ARRAYS = ("sum", "count", "resultant", "magnitude")
_STATISTICS = ("style_mean", "style_std", "layer", "channel")


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
    finished `directions` [C, D], `done` [blocks], and `readings` [N, D], unit embeddings of the generator's own
    pictures, in stores that have been used since these are kept. A block is one shard, so that two writers never
    share one, and its done mark is written after its data: 0 for nothing, else how many of the `stages` its sums
    hold, which are the numbers of images that the store was to have, each larger than the one before. Dimensions are
    named, so that xarray opens the store.

    Every reader raises StoreCorrupt, with the name of the file, for damaged and for lost files.
    """

    def __init__(self, uri: str, group: zarr.Group) -> None:
        self.uri, self._group = uri, group
        self.attrs: dict[str, Any] = dict(group.attrs)
        self.block = int(self.attrs["block"])

    @staticmethod
    def exists(uri: str) -> bool:
        """Whether a store with its statistics is there (they are written when it is made)."""
        return arrays.is_ready(uri)

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

        `layer` [C] are positions in `layer_names`, `channel` [C] numbers inside the layer. Where another process has
        just made the same store, that one is opened. Nothing is overwritten: StorageError then, and when the place
        cannot be written.
        """
        count = len(std)
        assert mean.shape == std.shape == layer.shape == channel.shape == (count,), (mean.shape, layer.shape)
        assert count > 0 and dim > 0 and block > 0, (count, dim, block)
        about = {**attrs, "block": block, "layer_names": list(layer_names), "versions": _package_versions()}
        with arrays.new_group(uri, KIND) as group:
            for name, dtype, shape in (
                ("sum", "float32", (count, dim)),
                ("magnitude", "float32", (count, dim)),
                ("directions", "float32", (count, dim)),
                ("count", "int64", (count,)),
                ("resultant", "float32", (count,)),
            ):
                _make(group, name, shape, dtype, block)
            for name, dtype, values in (
                ("style_mean", "float32", mean),
                ("style_std", "float32", std),
                ("layer", "int32", layer),
                ("channel", "int32", channel),
            ):
                _make(group, name, (count,), dtype, block)[:] = values.astype(dtype)
            blocks = -(-count // block)
            arrays.make_array(group, "done", (blocks,), "uint8", ("block",), rows=1, chunk=1)
            arrays.make_ready(group, about, SCHEMA_VERSION)
        return cls.open(uri, about)

    @classmethod
    def open(cls, uri: str, expected: Mapping[str, Any] | None = None) -> DirectionStore:
        """Open a store; with `expected`, check that it belongs to that computation.

        Raises StorageError when there is none, StoreCorrupt when it is something else or was cut off while it was
        made, PlanMismatch (naming what differs) when it belongs to another computation.
        """
        how = _HOW.format(uri=uri)
        return cls(uri, arrays.open_group(uri, KIND, SCHEMA_VERSION, how, expected))

    def grow(self, images: int, call: Mapping[str, Any]) -> None:
        """Let the store have more images: every block is missing until it has them, and keeps those that it has."""
        assert images > self.stages[-1], (images, self.stages)
        change: dict[str, Any] = {
            "stages": [*self.stages, images],
            "n_images": images,
            "finished": False,
            "call": dict(call),
        }
        with uris.explained(self.uri):
            self._group.attrs.update(change)
        self.attrs |= change

    @property
    def stages(self) -> list[int]:
        """How many images the store was to have, first and after each growth."""
        return list(self.attrs.get("stages", [self.attrs.get("n_images", 0)]))

    def images_in(self, block: int) -> int:
        """How many images a block's sums are over; 0 where nothing of it is there."""
        mark = arrays.read_rows(self.uri, self._array("done"), slice(block, block + 1), False)
        stage = int(mark[0])
        return self.stages[stage - 1] if stage else 0

    def sums_of(self, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """sum [c, D], count [c] and magnitude [c, D] of a block that has images, to be added to."""
        part = self.block_slices[block]
        total, count, magnitude = (
            arrays.read_rows(self.uri, self._array(name), part, True)
            for name in ("sum", "count", "magnitude")
        )
        return total, count, magnitude

    @property
    def block_slices(self) -> list[slice]:
        """The channels of each block."""
        count = self._array("style_std").shape[0]
        return [slice(i, min(i + self.block, count)) for i in range(0, count, self.block)]

    def missing_blocks(self) -> list[int]:
        """Numbers of the blocks that are not done."""
        return np.flatnonzero(self._read("done", written=False) != len(self.stages)).tolist()

    def damages(self) -> list[Damage]:
        """Files that cannot be read, each with the block that makes it again; None for statistics and ToRGB."""
        marks = self._array("done")
        found = arrays.damages(self.uri, marks, range(marks.shape[0]), written=False)
        unsure = {damage.shard for damage in found}
        done = [number for number in range(marks.shape[0]) if number not in unsure and marks[number]]
        for name in (*_BLOCK_ARRAYS, *(["directions"] if self.attrs.get("finished") else [])):
            found += arrays.damages(self.uri, self._array(name), done)
        for name in (*_STATISTICS, *(each for each in TORGB_ARRAYS if each in self._group)):
            array = self._array(name)
            high = (array.shards or array.chunks)[0]
            lost = arrays.damages(self.uri, array, range(-(-array.shape[0] // high)))
            found += [Damage(damage.file, damage.what) for damage in lost]
        return found

    def discard(self, damages: Sequence[Damage]) -> None:
        """Take away damaged files and the done marks of their blocks, which then are missing blocks."""
        for damage in damages:
            if damage.shard is not None:
                uris.remove(arrays.shard_file(self.uri, self._array("done"), damage.shard))
                uris.remove(damage.file)

    def restore_statistics(
        self, mean: np.ndarray, std: np.ndarray, layer: np.ndarray, channel: np.ndarray
    ) -> None:
        """Write the statistics anew, each [C]: some of their files were damaged."""
        with uris.explained(self.uri):
            for name, values in zip(_STATISTICS, (mean, std, layer, channel), strict=True):
                array = self._array(name)
                high = (array.shards or array.chunks)[0]
                for number in range(-(-array.shape[0] // high)):
                    uris.remove(arrays.shard_file(self.uri, array, number))
                arrays.write_rows(self.uri, array, slice(0, len(values)), values)

    def write_block(
        self, block: int, sum_: np.ndarray, count: np.ndarray, resultant: np.ndarray, magnitude: np.ndarray
    ) -> None:
        """Write one whole block, [c, D] and [c], and then its done mark.

        Raises StorageError, and writes nothing, when a value is not a finite number.
        """
        part = self.block_slices[block]
        given = dict(zip(_BLOCK_ARRAYS, (sum_, count, resultant, magnitude), strict=True))
        for name, values in given.items():
            assert values.shape == (part.stop - part.start, *self._array(name).shape[1:]), (
                name,
                values.shape,
            )
            if not np.isfinite(values).all():
                bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
                raise StorageError(
                    f"{self.uri}: '{name}' of channel {part.start + bad[0]} is not a finite number "
                    f"({len(bad)} such channels in block {block}): are the weights of the bundle sound?"
                )
        mark = slice(block, block + 1)
        with uris.explained(self.uri):
            if self.images_in(block):  # killed in between, it is begun anew
                arrays.write_rows(self.uri, self._array("done"), mark, 0)
            for name, values in given.items():
                arrays.write_rows(self.uri, self._array(name), part, values)
            arrays.write_rows(self.uri, self._array("done"), mark, len(self.stages))

    def adopt(self, directions: np.ndarray, torgb: tuple[np.ndarray, np.ndarray] | None) -> None:
        """Fill and finish the store with directions [C, D] that were made elsewhere and are kept as they are.

        What is not known of them is not made up: counts and sums are 0, resultant lengths not a number. `torgb` are
        means and standard deviations of the ToRGB channels in network order, which the published format carries.
        """
        assert directions.shape == self._array("directions").shape, directions.shape
        with uris.explained(self.uri):
            for name, values in zip(TORGB_ARRAYS, torgb or (), strict=False):
                if name not in self._group:
                    arrays.make_array(
                        self._group, name, values.shape, "float32", ("torgb_channel",),
                        rows=len(values), chunk=len(values),
                    )  # fmt: skip
                self._array(name)[:] = values.astype(np.float32)
            for name in ("sum", "magnitude", "count"):
                self._array(name)[:] = 0
            self._array("resultant")[:] = np.nan
            self._array("directions")[:] = directions.astype(np.float32)
            self._array("done")[:] = 1
            self._group.attrs["finished"] = True
        self.attrs["finished"] = True

    def finalize(self) -> None:
        """Write `directions`: unit rows of `sum`, zeros where the sum is zero. Raises StorageError when blocks are
        missing; harmless when it was done before."""
        if missing := self.missing_blocks():
            raise StorageError(
                f"{self.uri}: {len(missing)} of {len(self.block_slices)} blocks are not done; "
                "run precompute again to finish them"
            )
        total = self._read("sum")
        length = np.linalg.norm(total, axis=1, keepdims=True)
        with uris.explained(self.uri):
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
    def layer(self) -> np.ndarray:
        """Position in `attrs["layer_names"]` of each channel's layer, int32 [C]."""
        return self._read("layer")

    @property
    def channel(self) -> np.ndarray:
        """Number of each channel inside its layer, int32 [C]."""
        return self._read("channel")

    @property
    def torgb(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and σ of the ToRGB channels in network order, float32 [C_torgb]; None where they are not kept."""
        if any(name not in self._group for name in TORGB_ARRAYS):
            return None
        mean, std = (self._read(name) for name in TORGB_ARRAYS)
        return mean, std

    @property
    def readings(self) -> np.ndarray | None:
        """Unit embeddings of the generator's own pictures, float32 [N, D]; None where they are not kept yet."""
        if not self.attrs.get("readings"):
            return None
        return self._read("readings").astype(np.float32)

    def keep_readings(self, readings: np.ndarray) -> None:
        """Keep readings [N, D], as float16. Raises StorageError where the store cannot be written."""
        with uris.explained(self.uri):
            if "readings" not in self._group:
                arrays.make_array(
                    self._group, "readings", readings.shape, "float16", ("sample", "embedding"),
                    rows=len(readings), chunk=len(readings),
                )  # fmt: skip
            arrays.write_rows(
                self.uri, self._array("readings"), slice(0, len(readings)), readings.astype(np.float16)
            )
            # Its mark is written after the array, as for blocks.
            self._group.attrs["readings"] = len(readings)
        self.attrs["readings"] = len(readings)

    @property
    def resultant(self) -> np.ndarray:
        """Reliability of each channel in [0, 1], float32 [C]; 0 in blocks that are not done, NaN where unknown."""
        return self._read("resultant", written=not self.missing_blocks())

    @property
    def count(self) -> np.ndarray:
        """Images that each channel's sum is over, int64 [C]; 0 in blocks that are not done."""
        return self._read("count", written=not self.missing_blocks())

    def magnitude(self) -> np.ndarray:
        """Mean unnormalised difference of each channel, float32 [C, D]; 0 in blocks that are not done."""
        total = self._read("magnitude", written=not self.missing_blocks())
        return total / np.maximum(self.count, 1)[:, None].astype(np.float32)

    def _array(self, name: str) -> zarr.Array:
        return arrays.get_array(self.uri, self._group, name)

    def _read(self, name: str, written: bool = True) -> np.ndarray:
        return arrays.read_rows(self.uri, self._array(name), slice(None), written)


def _make(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str, block: int) -> zarr.Array:
    dims = ("style_channel", "embedding")[: len(shape)]
    return arrays.make_array(group, name, shape, dtype, dims, rows=block, chunk=min(CHUNK_ROWS, block))
