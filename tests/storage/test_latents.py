"""The latents store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import arrays
from storage.errors import PlanMismatch, StorageError, StoreCorrupt, StoreExists
from storage.latents import LatentStore

IDS = [f"image-{i}" for i in range(7)]
OK = np.array([True, False, True])


@pytest.fixture
def store(tmp_path) -> LatentStore:
    return LatentStore.create(str(tmp_path / "latents.zarr"), IDS, 3, 4, {"bundle": "tiny"}, shard_size=3)


def codes(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 3, 4)).astype(np.float32)


def test_shards_are_resumed_and_codes_found_by_id(store):
    store.write_shard(1, codes(3), OK)
    store = LatentStore.open(store.uri, {"bundle": "tiny"})
    assert store.ids == IDS and store.missing_shards() == [0, 2]
    assert store.ok.tolist() == [False, False, False, True, False, True, False]
    np.testing.assert_array_equal(store.read(["image-5", "image-3", "image-5"]), codes(3)[[2, 0, 2]])
    np.testing.assert_array_equal(store.read(slice(3, 6)), codes(3) * OK[:, None, None])
    store.write_shard(2, codes(1), np.array([True]))
    assert store.missing_shards() == [0]
    assert store.read().shape == (7, 3, 4) and store.read([]).shape == (0, 3, 4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_selection_is_that_of_the_whole(store, data):
    for shard, rows in enumerate((3, 3, 1)):
        store.write_shard(shard, codes(rows), np.ones(rows, bool))
    whole = store.read()
    chosen = data.draw(st.lists(st.sampled_from(range(7)), max_size=9))
    np.testing.assert_array_equal(store.read([IDS[i] for i in chosen]), whole[chosen])
    part = slice(*sorted(data.draw(st.tuples(st.integers(0, 8), st.integers(0, 8)))))
    np.testing.assert_array_equal(store.read(part), whole[part])


def test_codes_that_are_not_there_are_named(store):
    store.write_shard(0, codes(3), OK)
    with pytest.raises(StorageError, match="no code for image 'nobody'"):
        store.read(["nobody"])
    with pytest.raises(StorageError, match="'image-1' was not inverted"):
        store.read(["image-0", "image-1"])
    with pytest.raises(StorageError, match="'image-4' is not inverted yet"):
        store.read(["image-0", "image-4"])


def test_other_stores_are_refused(store, tmp_path):
    with pytest.raises(PlanMismatch, match="bundle was tiny, is big"):
        LatentStore.open(store.uri, {"bundle": "big"})
    with pytest.raises(StorageError, match="no latents store"):
        LatentStore.open(str(tmp_path / "none"))
    with pytest.raises(StorageError, match="ids of the images are not unique"):
        LatentStore.create(str(tmp_path / "twice"), ["a", "a"], 3, 4, {})


def test_a_folder_with_other_files_is_never_emptied(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(StorageError, match="other files in it"):
        LatentStore.create(str(tmp_path), IDS, 3, 4, {})
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_codes_that_are_not_finite_are_refused_by_image(store):
    broken = codes(3)
    broken[1:] = np.nan
    with pytest.raises(StorageError, match="code of image 'image-2' is not finite"):
        store.write_shard(0, broken, OK)
    assert store.missing_shards() == [0, 1, 2]
    # What stands in the place of a failed image is nobody's code, and is not kept.
    store.write_shard(0, broken, np.array([True, False, False]))
    assert np.isfinite(store.read()).all()


@pytest.mark.parametrize("name", ["../escaped", "sub/dir", "/etc/x", "..", ".hidden", "", "a\0b", 5])
def test_ids_that_would_lead_out_of_a_run_folder_are_refused(tmp_path, store, name):
    with pytest.raises(StorageError, match="id of an image"):
        LatentStore.create(str(tmp_path / "bad.zarr"), [name], 3, 4, {}, shard_size=3)
    # a store of somebody else's, written without our checks
    attributes = tmp_path / "latents.zarr" / "zarr.json"
    content = json.loads(attributes.read_text())
    content["attributes"]["ids"][2] = name
    attributes.write_text(json.dumps(content))
    with pytest.raises(StoreCorrupt, match="id of an image"):
        LatentStore.open(store.uri)


def test_a_reader_of_few_codes_reads_few_files(store, monkeypatch):
    for shard, count in enumerate((3, 3, 1)):
        store.write_shard(shard, codes(count), np.ones(count, bool))
    looked: list[tuple[str, int]] = []
    read = arrays.read_rows

    def watched(uri, array, rows, *rest):
        looked.append((array.name, len(np.arange(array.shape[0])[rows])))
        return read(uri, array, rows, *rest)

    monkeypatch.setattr(arrays, "read_rows", watched)
    store.codes_of(IDS[2:4])
    assert looked == [("/w", 2), ("/ok", 2)]
    del looked[:]
    for _ in range(3):
        assert store.ok.all() and store.missing_shards() == []
    assert looked == [("/ok", len(IDS))]


def test_a_store_grows_and_the_last_code_counts(store):
    for shard, count in enumerate((3, 3, 1)):
        store.write_shard(shard, codes(count), np.ones(count, bool))
    before, versions = store.read(), store.versions(IDS)
    parts = [(0, IDS), (3, [IDS[1], "new"]), (5, ["late"])]
    grown = store.grow_to(parts, gone=[IDS[0]])
    assert grown.ids == sorted([*IDS[1:], "new", "late"]) and grown.missing_shards() == [3, 5]
    with pytest.raises(StorageError, match="not inverted yet"):
        grown.read([IDS[1]])
    grown.write_shard(3, codes(2) + 5, np.ones(2, bool))
    grown.write_shard(5, codes(1) + 7, np.zeros(1, bool))
    again = LatentStore.open(store.uri)
    assert again.missing_shards() == [] and IDS[0] not in again
    np.testing.assert_array_equal(again.read([IDS[1], "new", IDS[2]]), [*(codes(2) + 5), before[2]])
    assert again.ok.tolist() == [id_ != "late" for id_ in again.ids]
    same = [
        id_
        for id_, old, new in zip(IDS[1:], versions[1:], again.versions(IDS[1:]), strict=True)
        if old == new
    ]
    assert same == list(IDS[2:])
    assert again.grow_to(parts, gone=[IDS[0]]) is again
    with pytest.raises(StoreCorrupt, match="other images than the plan"):
        again.grow_to([(0, ["other"])], gone=[])


def test_two_that_make_the_same_store_at_once_get_one(tmp_path, monkeypatch):
    """All find the place free, and only then does any of them make its store."""
    uri, look, together = str(tmp_path / "both.zarr"), arrays._check_free, Barrier(4)

    def look_together(*place: str) -> None:
        look(*place)
        together.wait(timeout=30)

    monkeypatch.setattr(arrays, "_check_free", look_together)
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: LatentStore.create(uri, IDS, 3, 4, {"bundle": "tiny"}, 3), range(4)))
    stores[0].write_shard(0, codes(3), OK)
    assert all(LatentStore.open(each.uri).missing_shards() == [1, 2] for each in stores)
    assert [path.name for path in tmp_path.iterdir()] == ["both.zarr"], "nothing half-made stays"
    monkeypatch.undo()
    with pytest.raises(StoreExists):  # who looks later is told, and may open it
        LatentStore.create(uri, IDS, 3, 4, {"bundle": "tiny"}, 3)
