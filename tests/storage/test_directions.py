"""The directions store: written by blocks, continued after kill -9, checked when read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from stores import ATTRS, Directions, data_files, work

from storage.directions import DirectionStore
from storage.errors import StorageError, StoreCorrupt

C, D, BLOCK = Directions.CHANNELS, Directions.DIM, Directions.BLOCK
values = Directions.values


def create(uri: str, **attrs: object) -> DirectionStore:
    """An empty store, opened."""
    store = Directions(uri)
    store.create(**attrs)
    return store.open(**attrs)


def fill(store: DirectionStore, blocks: list[int]) -> None:
    Directions(store.uri).write(blocks)


@pytest.fixture
def uri(tmp_path) -> str:
    return str(tmp_path / "directions.zarr")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished store, to be looked at only."""
    path = tmp_path_factory.mktemp("whole") / "directions.zarr"
    work(Directions(str(path)))
    return path


def test_blocks_are_resumed_and_finished(uri):
    assert not DirectionStore.exists(uri)
    store = create(uri)
    assert DirectionStore.exists(uri) and store.missing_blocks() == [0, 1]
    fill(store, [1])
    store = DirectionStore.open(uri, expected=ATTRS)
    assert store.missing_blocks() == [0]
    with pytest.raises(StorageError, match=r"not finished \(1 of 2 blocks missing\): run precompute again"):
        store.directions()
    with pytest.raises(StorageError, match="1 of 2 blocks are not done"):
        store.finalize()
    assert store.count.tolist() == [0] * BLOCK + [4] * (C - BLOCK)
    fill(store, [0])
    store.finalize()
    store.finalize()
    found = DirectionStore.open(uri)
    sums = np.concatenate([values(b, s.stop - s.start)[0] for b, s in enumerate(found.block_slices)])
    np.testing.assert_allclose(
        found.directions(), sums / np.linalg.norm(sums, axis=1, keepdims=True), rtol=1e-5
    )
    np.testing.assert_allclose(found.magnitude(), sums / 2, rtol=1e-5)
    assert found.mean.tolist() == list(range(C)) and found.count.tolist() == [4] * C
    assert found.channel.tolist() == list(range(C)) and not found.layer.any()
    assert found.directions().dtype == found.std.dtype == np.float32
    assert found.attrs["layer_names"] == ["conv1_4", "torgb_4"] and "zarr" in found.attrs["versions"]


def test_arrays_have_names_for_their_dimensions(whole):
    group = zarr.open_group(whole, mode="r")
    assert group["sum"].metadata.dimension_names == ("style_channel", "embedding")
    assert group["count"].metadata.dimension_names == ("style_channel",)
    assert group["done"].metadata.dimension_names == ("block",)
    assert group["sum"].shards == (BLOCK, D)


def test_xarray_opens_it(whole):
    xarray = pytest.importorskip("xarray")
    found = xarray.open_zarr(whole, consolidated=False)
    assert dict(found.sizes) == {"style_channel": C, "embedding": D, "block": 2}
    np.testing.assert_array_equal(found["directions"].values, DirectionStore.open(str(whole)).directions())


@pytest.mark.parametrize("names", [["precious.txt"], [".hidden"], ["photos/a.png"], ["data/zarr.json"]])
def test_a_folder_with_other_files_is_never_emptied(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    with pytest.raises(StorageError, match="is a folder with other files in it: choose another place"):
        create(str(tmp_path))
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_other_zarr_stores_and_finished_ones_are_never_emptied(tmp_path, uri):
    zarr.create_group(tmp_path / "theirs").create_array("x", shape=(3,), dtype="f4")[:] = 1
    with pytest.raises(StorageError, match="other files in it"):
        create(str(tmp_path / "theirs"))
    assert zarr.open_group(tmp_path / "theirs")["x"][:].tolist() == [1, 1, 1]
    fill(create(uri), [0])
    with pytest.raises(StorageError, match="holds a finished store already"):
        create(uri)
    assert DirectionStore.open(uri).missing_blocks() == [1]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="is a file"):
        create(str(tmp_path / "file"))


def test_what_is_no_store(uri, tmp_path):
    with pytest.raises(
        StorageError, match=f"no directions store at {uri}; to make one: styleclip precompute"
    ):
        DirectionStore.open(uri)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder is not a directions store"):
        DirectionStore.open(str(tmp_path / "folder"))
    zarr.create_group(tmp_path / "latents", attributes={"kind": "latents", "schema_version": 1})
    with pytest.raises(StoreCorrupt, match="is a latents store, not a directions store"):
        DirectionStore.open(str(tmp_path / "latents"))
    (tmp_path / "latents" / "zarr.json").write_text("{")
    with pytest.raises(StoreCorrupt, match=r"zarr\.json is no Zarr group"):
        DirectionStore.open(str(tmp_path / "latents"))


def test_a_store_of_another_version_says_so(uri):
    create(uri)
    about = json.loads(Path(uri, "zarr.json").read_text())
    about["attributes"]["schema_version"] = 99
    Path(uri, "zarr.json").write_text(json.dumps(about))
    with pytest.raises(StoreCorrupt, match="has schema version 99, this program reads 1"):
        DirectionStore.open(uri)


def test_what_is_not_finite_is_not_written(uri):
    store = create(uri)
    sums, count, resultant, magnitude = values(0, BLOCK)
    sums[5, 2] = np.nan
    with pytest.raises(StorageError, match="'sum' of channel 5 is not a finite number"):
        store.write_block(0, sums, count, resultant, magnitude)
    assert store.missing_blocks() == [0, 1] and not data_files(Path(uri, "sum"))


def test_channels_without_effect_have_zero_rows_that_are_no_damage(uri):
    store = create(uri)
    for block, part in enumerate(store.block_slices):
        rows = part.stop - part.start
        store.write_block(block, np.zeros((rows, D)), np.full(rows, 4), np.zeros(rows), np.zeros((rows, D)))
    store.finalize()
    assert not store.directions().any() and not store.resultant.any() and not store.magnitude().any()


def test_a_lost_array_is_named(uri):
    work(Directions(uri))
    Path(uri, "style_std", "zarr.json").unlink()
    with pytest.raises(StoreCorrupt, match="lacks the array 'style_std'"):
        DirectionStore.open(uri).std  # noqa: B018
