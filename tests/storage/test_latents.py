"""The latents store."""

from __future__ import annotations

import numpy as np
import pytest

from storage.errors import PlanMismatch, StorageError
from storage.latents import LatentStore

IDS = [f"image-{i}" for i in range(7)]


@pytest.fixture
def store(tmp_path) -> LatentStore:
    return LatentStore.create(str(tmp_path / "latents.zarr"), IDS, 3, 4, {"bundle": "tiny"}, shard_size=3)


def codes(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 3, 4)).astype(np.float32)


def test_shards_are_resumed_and_codes_found_by_id(store):
    store.write_shard(1, codes(3), np.array([True, False, True]))
    store = LatentStore.open(store.uri, {"bundle": "tiny"})
    assert store.missing_shards() == [0, 2]
    assert store.ok.tolist() == [False, False, False, True, False, True, False]
    np.testing.assert_array_equal(store.read(["image-5", "image-3"]), codes(3)[[2, 0]])
    np.testing.assert_array_equal(store.read(slice(3, 6)), codes(3))
    store.write_shard(2, codes(1), np.array([True]))
    assert store.missing_shards() == [0]


def test_codes_that_are_not_there_are_named(store):
    store.write_shard(0, codes(3), np.array([True, False, True]))
    with pytest.raises(StorageError, match="no code for image 'nobody'"):
        store.read(["nobody"])
    with pytest.raises(StorageError, match="'image-1' was not inverted"):
        store.read(["image-0", "image-1"])


def test_other_stores_are_refused(store, tmp_path):
    with pytest.raises(PlanMismatch, match="bundle was tiny, is big"):
        LatentStore.open(store.uri, {"bundle": "big"})
    with pytest.raises(StorageError, match="no latents store"):
        LatentStore.open(str(tmp_path / "none"))
