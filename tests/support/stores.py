"""Every store behind one face, so that one suite holds for all: two parts to write, then a whole to read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from storage import uris
from storage.directions import DirectionStore
from storage.latents import LatentStore
from storage.metrics import finished_shards, write_shard
from storage.reading import read_metrics
from storage.run_card import keep_card

ATTRS = {"bundle": "tiny", "weights": {"generator": "abc"}, "seed": 1}


class Directions:
    """Channel directions, by blocks."""

    CHANNELS, DIM, BLOCK = 20, 6, 16

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def exists(self) -> bool:
        return DirectionStore.exists(self.uri)

    def create(self, **attrs: object) -> None:
        """An empty store in two parts, the second one not full."""
        DirectionStore.create(
            self.uri,
            layer_names=["conv1_4", "torgb_4"],
            layer=np.zeros(self.CHANNELS),
            channel=np.arange(self.CHANNELS),
            dim=self.DIM,
            mean=np.arange(self.CHANNELS),
            std=np.ones(self.CHANNELS),
            attrs=ATTRS | attrs,
            block=self.BLOCK,
        )

    def open(self, **attrs: object) -> DirectionStore:
        """Open it for this computation; `attrs` make it another one."""
        return DirectionStore.open(self.uri, ATTRS | attrs)

    def missing(self) -> list[int]:
        return self.open().missing_blocks()

    @staticmethod
    def values(block: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """sum, count, resultant and magnitude of a block, the same at every call."""
        sums = np.random.default_rng(block).normal(size=(rows, Directions.DIM))
        return sums, np.full(rows, 4), np.linalg.norm(sums, axis=1) / 4, 2 * sums

    def write(self, parts: Iterable[int]) -> None:
        """Write whole parts."""
        store = self.open()
        for block in parts:
            part = store.block_slices[block]
            store.write_block(block, *self.values(block, part.stop - part.start))

    def finish(self) -> None:
        """What is left to do when all parts are there; reads what directions are made of."""
        self.open().finalize()

    def read(self) -> list[np.ndarray]:
        """Everything, as arrays."""
        store = self.open()
        parts = [store.directions(), store.mean, store.std, store.layer, store.channel]
        return [*parts, store.resultant, store.count, store.magnitude(), np.array(store.missing_blocks())]


class Latents:
    """Latent codes, by shards."""

    IDS: ClassVar = [f"image-{i}" for i in range(5)]
    SHARD = 3

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def exists(self) -> bool:
        return LatentStore.exists(self.uri)

    def create(self, **attrs: object) -> None:
        """An empty store in two parts, the second one not full."""
        LatentStore.create(self.uri, self.IDS, 3, 4, ATTRS | attrs, self.SHARD)

    def open(self, **attrs: object) -> LatentStore:
        """Open it for this computation; `attrs` make it another one."""
        return LatentStore.open(self.uri, ATTRS | attrs)

    def missing(self) -> list[int]:
        return self.open().missing_shards()

    def write(self, parts: Iterable[int]) -> None:
        """Write whole parts."""
        store = self.open()
        for shard in parts:
            count = min(self.SHARD, len(self.IDS) - shard * self.SHARD)
            codes = np.random.default_rng(shard).normal(size=(count, 3, 4)).astype(np.float32)
            store.write_shard(shard, codes, np.arange(count) != 1)

    def finish(self) -> None:
        """Nothing is left to do when all parts are there."""

    def read(self) -> list[np.ndarray]:
        """Everything, as arrays."""
        store = self.open()
        return [store.read(), store.ok, np.array(store.missing_shards())]


class Metrics:
    """Rows of a run with its card, by shards."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def exists(self) -> bool:
        return uris.exists(uris.join(self.uri, "run.json"))

    def create(self, **attrs: object) -> None:
        """An empty run folder."""
        keep_card(self.uri, "run", ATTRS | attrs)

    def open(self, **attrs: object) -> None:
        """Open it for this computation; `attrs` make it another one."""
        keep_card(self.uri, "run", ATTRS | attrs)

    def missing(self) -> list[int]:
        return sorted({0, 1} - finished_shards(self.uri, "edit", "r"))

    def write(self, parts: Iterable[int]) -> None:
        """Write whole parts."""
        for shard in parts:
            same = {"path": "a.png", "input_hash": "0", "edit": "red", "status": "ok"}
            rows = [same | {"image_id": f"{shard}-{i}", "clip_gain": i / 7} for i in range(3 - shard)]
            write_shard(self.uri, "edit", "r", shard, rows)

    def finish(self) -> None:
        """Nothing is left to do when all parts are there."""

    def read(self) -> list[np.ndarray]:
        """Everything, as arrays."""
        rows = read_metrics(self.uri).sort_values("image_id")
        return [rows[name].to_numpy() for name in ("image_id", "clip_gain", "status")]


Store = Directions | Latents | Metrics
STORES: dict[str, type[Store]] = {"directions": Directions, "latents": Latents, "metrics": Metrics}


def work(store: Store) -> None:
    """What a run does: make the store if need be, write what is missing, finish."""
    if store.exists():
        store.open()
    else:
        store.create()
    store.write(store.missing())
    store.finish()


def data_files(folder: Path) -> list[Path]:
    """The files that hold numbers."""
    return sorted(
        path
        for path in folder.glob("**/*")
        if path.is_file() and ("c" in path.relative_to(folder).parts or path.suffix == ".parquet")
    )
