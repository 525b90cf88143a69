"""The directions store: written by blocks, continued after kill -9, checked when read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.directions import DirectionStore
from storage.errors import PlanMismatch, StorageError, StoreCorrupt

C, D, BLOCK = 70, 6, 16
ATTRS = {"bundle": "tiny", "weights": {"generator": "abc"}, "seed": 1}


def create(uri: str, **attrs: object) -> DirectionStore:
    return DirectionStore.create(
        uri, layer_names=["conv1_4", "torgb_4"], layer=np.zeros(C), channel=np.arange(C), dim=D,
        mean=np.arange(C), std=np.ones(C), attrs=ATTRS | attrs, block=BLOCK,
    )  # fmt: skip


def block_values(block: int, rows: int):
    random = np.random.default_rng(block)
    sums = random.normal(size=(rows, D))
    return sums, np.full(rows, 4), np.linalg.norm(sums, axis=1) / 4, 2 * sums


def fill(store: DirectionStore, blocks) -> None:
    for block in blocks:
        part = store.block_slices[block]
        store.write_block(block, *block_values(block, part.stop - part.start))


@pytest.fixture
def uri(tmp_path) -> str:
    return str(tmp_path / "directions.zarr")


def test_blocks_are_resumed_and_finished(uri):
    assert not DirectionStore.exists(uri)
    store = create(uri)
    assert DirectionStore.exists(uri) and store.missing_blocks() == [0, 1, 2, 3, 4]
    fill(store, [1, 3])
    store = DirectionStore.open(uri, expected=ATTRS)
    assert store.missing_blocks() == [0, 2, 4]
    with pytest.raises(StorageError, match="3 of 5 blocks missing"):
        store.directions()
    with pytest.raises(StorageError, match="3 blocks are not done"):
        store.finalize()
    fill(store, [0, 2, 4])
    store.finalize()
    found = DirectionStore.open(uri)
    sums = np.concatenate([block_values(b, s.stop - s.start)[0] for b, s in enumerate(found.block_slices)])
    np.testing.assert_allclose(
        found.directions(), sums / np.linalg.norm(sums, axis=1, keepdims=True), rtol=1e-5
    )
    np.testing.assert_allclose(found.magnitude(), sums / 2, rtol=1e-5)
    assert found.mean.tolist() == list(range(C)) and found.count.tolist() == [4] * C
    assert found.directions().dtype == np.float32


def test_arrays_have_names_for_their_dimensions(uri):
    create(uri)
    group = zarr.open_group(uri, mode="r")
    assert group["sum"].metadata.dimension_names == ("style_channel", "embedding")
    assert group["done"].metadata.dimension_names == ("block",)
    assert group["sum"].shards == (BLOCK, D)


def test_another_computation_is_refused_by_name(uri):
    create(uri)
    with pytest.raises(PlanMismatch, match=r"weights\.generator was abc, is xyz") as caught:
        DirectionStore.open(uri, expected=ATTRS | {"weights": {"generator": "xyz"}})
    assert "\n" not in str(caught.value)


def test_what_is_no_store(uri, tmp_path):
    with pytest.raises(StorageError, match="no directions store at"):
        DirectionStore.open(uri)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreCorrupt, match="folder"):
        DirectionStore.open(str(tmp_path / "folder"))


def test_a_flipped_byte_is_found(uri):
    store = create(uri)
    fill(store, range(5))
    store.finalize()
    shard = Path(uri, "directions", "c", "1", "0")
    data = bytearray(shard.read_bytes())
    data[20] ^= 0xFF
    shard.write_bytes(bytes(data))
    with pytest.raises(StoreCorrupt, match="directions is damaged"):
        DirectionStore.open(uri).directions()


WRITER = """
    import sys, time
    sys.path.insert(0, {here!r})
    from storage.directions import DirectionStore
    from test_directions import fill
    store = DirectionStore.open({uri!r})
    for block in store.missing_blocks():
        fill(store, [block])
        print(block, flush=True)
        time.sleep(0.05)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_done(uri, tmp_path):
    create(uri)
    script = textwrap.dedent(WRITER.format(here=os.path.dirname(__file__), uri=uri))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = DirectionStore.open(uri)
    missing = store.missing_blocks()
    assert 0 < len(missing) <= 3
    fill(store, missing)
    store.finalize()
    whole = create(str(tmp_path / "whole.zarr"))
    fill(whole, range(5))
    whole.finalize()
    np.testing.assert_array_equal(store.directions(), whole.directions())
