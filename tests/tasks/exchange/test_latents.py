"""Codes in every shape that people keep them in, into a store and back."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import torch

from storage import LatentStore
from storage.errors import PlanMismatch, StorageError
from tasks.exchange.latents import export_latents, import_latents

N, ROWS, DIM = 35, 6, 8  # more than one shard; the tiny generator's shape


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, ROWS, DIM)).astype(np.float32)


def save(path, value) -> str:
    if path.suffix == ".npy":
        np.save(path, value)
    else:
        torch.save(value, path)
    return str(path)


def take(tiny, file, store, ids=None):
    return import_latents(tiny, "cpu", str(file), ids, str(store))


@pytest.mark.parametrize("ending", [".npy", ".pt"])
def test_codes_and_ids_survive_the_way_in_and_out(tiny, codes, tmp_path, ending):
    file = save(tmp_path / f"in{ending}", codes if ending == ".npy" else torch.from_numpy(codes))
    (tmp_path / "ids.txt").write_text("".join(f"face-{i}.v2\n" for i in range(N)))
    found = take(tiny, file, tmp_path / "l.zarr", str(tmp_path / "ids.txt"))
    assert found == {
        "store": str(tmp_path / "l.zarr"), "images": N, "num_ws": ROWS, "w_dim": DIM, "in_w": False,
    }  # fmt: skip
    store = LatentStore.open(found["store"])
    assert np.array_equal(store.read(), codes) and store.ok.all() and store.ids[3] == "face-3.v2"
    assert take(tiny, file, tmp_path / "l.zarr", str(tmp_path / "ids.txt")) == found

    out = export_latents(found["store"], str(tmp_path / f"out{ending}"))
    assert (out["images"], out["without_code"]) == (N, 0)
    read = np.load(out["latents"]) if ending == ".npy" else torch.load(out["latents"]).numpy()
    assert np.array_equal(read, codes)
    again = take(tiny, out["latents"], tmp_path / "again.zarr", out["ids"])
    assert LatentStore.open(again["store"]).ids == store.ids
    with pytest.raises(StorageError, match="is there already"):
        export_latents(found["store"], str(tmp_path / f"out{ending}"))
    with pytest.raises(PlanMismatch, match="ids"):
        take(tiny, file, tmp_path / "l.zarr")


@pytest.mark.parametrize(
    ("make", "count", "first"),
    [
        (lambda t: t, N, "000000"),
        (lambda t: t.double(), N, "000000"),
        (lambda t: t[0], 1, "000000"),
        (lambda t: list(t), N, "000000"),
        (lambda t: [row[None] for row in t], N, "000000"),
        (lambda t: {"latents": t}, N, "000000"),
        (lambda t: {f"p{i}": row for i, row in enumerate(t)}, N, "p0"),
        (lambda t: {"one": t[:1]}, 1, "one"),
        (lambda t: t[:, :1].expand(-1, ROWS, -1), N, "000000"),
    ],
)
def test_every_shape_of_torch_files(tiny, codes, tmp_path, make, count, first):
    found = take(tiny, save(tmp_path / "a.pt", make(torch.from_numpy(codes))), tmp_path / "l.zarr")
    store = LatentStore.open(found["store"])
    wanted = (
        make(torch.from_numpy(codes)) if isinstance(make(torch.from_numpy(codes)), torch.Tensor) else codes
    )
    assert store.ids[0] == first and np.array_equal(
        store.read(), np.asarray(wanted).reshape(-1, ROWS, DIM)[:count]
    )


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_what_is_no_code_of_this_generator_is_refused(tiny, codes, tmp_path):
    tensor = torch.from_numpy(codes)

    def refused(value, message, ending=".pt"):
        with pytest.raises(StorageError, match=message):
            take(tiny, save(tmp_path / f"bad{ending}", value), tmp_path / "l.zarr")
        assert not (tmp_path / "l.zarr").exists()

    refused(Attack(tmp_path / "canary"), "cannot be read as tensors")
    assert not (tmp_path / "canary").exists()
    refused(tensor[:, :4], r"shape \[35, 4, 8\]; the generator of this bundle reads \[N, 6, 8\]")
    refused(codes[:, 0, :5], r"shape \[35, 5\]", ".npy")
    refused([tensor[:2]], "several codes in one entry")
    refused([], "holds no codes")
    refused({"a": "text"}, "holds str where a code")
    refused({"../a": tensor[0], "b": tensor[1]}, r"'\.\./a' cannot be an id")
    refused(tensor * torch.nan, "not finite")
    refused(tensor.int(), "tensor of torch.int32")
    refused(torch.zeros(1).expand(10**9, ROWS, DIM), "does not hold them")
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    with pytest.raises(StorageError, match=r"would unpack to 1,048,576 bytes"):
        take(tiny, packed, tmp_path / "l.zarr")


def test_ids_must_fit(tiny, codes, tmp_path):
    file = save(tmp_path / "a.npy", codes)
    for text, message in (("a\nb\n", "holds 2 ids, .* 35 codes"), ("a\n" * N, "not unique")):
        (tmp_path / "ids.txt").write_text(text)
        with pytest.raises(StorageError, match=message):
            take(tiny, file, tmp_path / "l.zarr", str(tmp_path / "ids.txt"))


def test_images_without_a_code_are_left_out_and_counted(tmp_path):
    store = LatentStore.create(str(tmp_path / "l.zarr"), ["a", "b", "c"], 2, 3, {}, shard_size=2)
    store.write_shard(0, np.ones((2, 2, 3)), np.array([True, False]))
    with pytest.raises(StorageError, match="not finished"):
        export_latents(store.uri, str(tmp_path / "out.npy"))
    store.write_shard(1, np.full((1, 2, 3), 2.0), np.array([True]))
    found = export_latents(store.uri, str(tmp_path / "out.npy"))
    assert (found["images"], found["without_code"]) == (2, 1)
    assert np.load(tmp_path / "out.npy")[:, 0, 0].tolist() == [1, 2]
    assert (tmp_path / "out.ids.txt").read_text() == "a\nc\n"
    with pytest.raises(StorageError, match=r"written as \.npy or \.pt"):
        export_latents(store.uri, str(tmp_path / "out.csv"))


def test_codes_in_w_serve_all_rows_and_that_is_said(tiny, codes, tmp_path):
    found = take(tiny, save(tmp_path / "W.npy", codes[:, 0]), tmp_path / "w.zarr")
    store = LatentStore.open(str(tmp_path / "w.zarr"))
    assert found["in_w"] and found["images"] == N
    assert (store.read() == codes[:, :1]).all() and store.read().shape == codes.shape
    assert not take(tiny, save(tmp_path / "w_plus.npy", codes), tmp_path / "plus.zarr")["in_w"]
