"""The same folder of images, run and stores on a disk, in memory and on an S3 server over HTTP."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from PIL import Image

from storage import uris
from storage.datasets import content_hash, list_images
from storage.directions import DirectionStore
from storage.errors import ImageError, PlanMismatch, StorageError, StoreCorrupt
from storage.growth import Wanted, keep_plan
from storage.images import decode_image, encode_image
from storage.images_table import images_table
from storage.latents import LatentStore
from storage.metrics import finished_shards, write_shard
from storage.plan import load_plan, shard_of
from storage.reading import read_metrics

COUNTER = itertools.count()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of a bucket on a server of our own."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("bucket")
        yield "s3://bucket"
        server.stop()


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request, tmp_path) -> str:
    """An empty folder somewhere."""
    if request.param == "disk":
        return str(tmp_path)
    root = "memory://test" if request.param == "memory" else request.getfixturevalue("s3")
    return f"{root}/{next(COUNTER)}"


PICTURE = np.full((8, 8, 3), (200, 100, 50), np.uint8)


def test_images(place):
    folder = f"{place}/in"
    for name in ("b c.png", "sub/a.jpg", ".hidden.png"):
        encode_image(PICTURE, f"{folder}/{name}")
    uris.write_bytes(f"{folder}/notes.txt", b"x")
    uris.write_bytes(f"{folder}/empty.png", b"")
    found = list_images(folder)
    assert [image.path for image in found.images] == [
        f"{folder}/{name}" for name in ("b c.png", "empty.png", "sub/a.jpg")
    ]
    assert found.skipped == 1 and found.images[2].id == "sub__a"
    np.testing.assert_array_equal(decode_image(found.images[0].path, 8), PICTURE)
    with pytest.raises(ImageError, match="Empty"):
        decode_image(found.images[1].path, 8)
    with pytest.raises(ImageError, match="NotFound"):
        decode_image(f"{folder}/none.png", 8)
    assert content_hash(found.images[1].path) == "e3b0c44298fc1c14"
    assert content_hash(f"{folder}/none.png") == "unreadable"
    buffer = io.BytesIO(uris.read_bytes(f"{folder}/b c.png"))
    assert Image.open(buffer).size == (8, 8)
    with pytest.raises(StorageError, match="does not exist"):
        list_images(f"{place}/elsewhere")


def test_a_run(place):
    run = f"{place}/run"
    plan = Wanted(
        images_table(["a"], ["a.png"], ["1-1"]), "in", ({"name": "x"},), 4, {"seed": 1}, lambda *_: []
    )
    assert load_plan(run) is None and finished_shards(run, "edit", "001") == set()
    kept = keep_plan(run, plan)
    assert not kept.continued and keep_plan(run, plan) == replace(kept, continued=True)
    assert [image.path for image in shard_of(run, 0).images] == ["in/a.png"]
    with pytest.raises(PlanMismatch, match="seed was 1, is 2"):
        keep_plan(run, replace(plan, fingerprint={"seed": 2}))
    assert uris.write_new(f"{run}/plan.json", b"another") is False and load_plan(run) == kept.generation
    row = {"image_id": "a", "path": "a.png", "input_hash": "1", "edit": "x", "status": "ok"}
    for shard in (0, 3):
        write_shard(run, "edit", "001", shard, [row])
        # Listed again after each: a remembered listing would miss the second.
        assert shard in finished_shards(run, "edit", "001")
    assert read_metrics(run)["run"].tolist() == ["001", "001"]


def test_a_directions_store(place):
    uri = f"{place}/d.zarr"
    assert not DirectionStore.exists(uri)
    with pytest.raises(StorageError, match="no directions store"):
        DirectionStore.open(uri)
    store = DirectionStore.create(
        uri, layer_names=["conv1_4"], layer=np.zeros(10), channel=np.arange(10), dim=3,
        mean=np.zeros(10), std=np.ones(10), attrs={"seed": 1}, block=4,
    )  # fmt: skip
    with pytest.raises(StorageError, match="finished store already"):
        DirectionStore.create(
            uri, layer_names=[], layer=np.zeros(1), channel=np.zeros(1), dim=3,
            mean=np.zeros(1), std=np.ones(1), attrs={},
        )  # fmt: skip
    for block, part in enumerate(store.block_slices):
        rows = part.stop - part.start
        ones = np.ones((rows, 3))
        DirectionStore.open(uri, {"seed": 1}).write_block(block, ones, ones[:, 0], ones[:, 0], ones)
        assert block not in DirectionStore.open(uri).missing_blocks()
    DirectionStore.open(uri).finalize()
    np.testing.assert_allclose(DirectionStore.open(uri).directions(), np.full((10, 3), 3**-0.5), rtol=1e-6)
    fs, path = uris.filesystem(f"{uri}/directions/c/1/0")
    fs.rm(path)
    with pytest.raises(StoreCorrupt, match="directions/c/1/0 is missing"):
        DirectionStore.open(uri).directions()


def test_a_latents_store(place):
    store = LatentStore.create(f"{place}/w.zarr", ["a", "b", "c"], 2, 3, {}, shard_size=2)
    codes = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    store.write_shard(0, codes[:2], np.ones(2, bool))
    store.write_shard(1, codes[2:], np.ones(1, bool))
    np.testing.assert_array_equal(LatentStore.open(store.uri).read(["c", "a"]), codes[[2, 0]])


def test_other_files_are_never_emptied(place):
    uris.write_bytes(f"{place}/mine/.precious", b"x")
    with pytest.raises(StorageError, match="other files in it"):
        LatentStore.create(f"{place}/mine", ["a"], 2, 3, {})
    assert uris.read_bytes(f"{place}/mine/.precious") == b"x"


def test_a_bucket_that_is_not_there_is_one_line(s3):
    with pytest.raises(StorageError, match=r"s3://nobucket/run/plan\.json cannot be written"):
        uris.write_bytes("s3://nobucket/run/plan.json", b"x")
