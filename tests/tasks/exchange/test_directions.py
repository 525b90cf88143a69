"""Directions in and out of the published files, on the generator and the numbers of vectors a, c and d."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from reference import arrays

from storage import DirectionStore
from storage.errors import PlanMismatch, StorageError
from storage.fs3 import read_fs3, read_mean_std
from storage.numpy_files import write_npy, write_pickled_arrays
from styleclip.checkpoints import from_nvlabs_state, load_native, save_native
from styleclip.directions import style_direction, style_statistics, weighted_style_direction
from styleclip.errors import BundleError, EditError
from styleclip.networks import StyleLayout
from tasks.exchange.directions import _layers_of, export_directions, import_directions
from tasks.exchange.inspect import strongest_channels
from tasks.process.models import bundle, directions


@pytest.fixture(scope="module")
def numbers():
    return {key: value.numpy() for key, value in (arrays("c_fs3.npz") | arrays("d_boundary.npz")).items()}


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory) -> str:
    """The tiny bundle with generator a of the vectors, and a CLIP whose embeddings have their length."""
    folder = tmp_path_factory.mktemp("world")
    generator = from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))
    save_native(
        folder / "generator.safetensors",
        "generator",
        generator.config.to_dict(),
        generator.state_dict(),
        torch.float32,
    )
    config = {**load_native(Path(tiny).with_name("clip.safetensors"))[1], "embed_dim": 32}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = CLIP(**{key: value for key, value in config.items() if key != "vocabulary"})
    save_native(folder / "clip.safetensors", "clip", config, network.state_dict())
    path = folder / "world.toml"
    path.write_text(
        'description = "generator of the vectors"\nneutral = "a face"\ntemplates = ["{}"]\n'
        'generator = {path = "generator.safetensors"}\nclip = {checkpoint = "clip.safetensors"}\n'
    )
    return str(path)


def names(layout: StyleLayout, only: str = "") -> list[str]:
    return [
        layer.name.replace("torgb", "toRGB").replace("_", "_resolution_")
        for layer in layout.layers
        if layer.kind.startswith(only)
    ]


@pytest.fixture(scope="module")
def published(numbers, world, tmp_path_factory) -> Path:
    """fs3.npy, its first four layers as short.npy, and S_mean_std, as the published code would have written them."""
    folder = tmp_path_factory.mktemp("published")
    write_npy(str(folder / "fs3.npy"), numbers["fs3_float_fresh"])
    write_npy(str(folder / "short.npy"), numbers["fs3_float_fresh"][: int(numbers["short_k"])])
    every = names(bundle(world, "cpu").generator.layout)
    write_pickled_arrays(
        str(folder / "S_mean_std"),
        [[numbers[f"{kind}_{name}"] for name in every] for kind in ("mean", "std")],
    )
    return folder


def take(world: str, published: Path, store: Path, rows: str = "fs3.npy", statistics: str = "S_mean_std"):
    return import_directions(world, "cpu", str(published / rows), str(published / statistics), str(store))


def test_import_and_export_are_exact(numbers, world, published, tmp_path):
    found = take(world, published, tmp_path / "d.zarr")
    assert (found["covered"], found["channels"], found["layers"], found["last_layer"]) == (
        208,
        208,
        7,
        "conv1_32",
    )
    store = DirectionStore.open(str(tmp_path / "d.zarr"))
    assert np.array_equal(store.directions(), numbers["fs3_float_fresh"])
    assert store.attrs["source"] == "imported" and not store.count.any() and np.isnan(store.resultant).all()
    assert take(world, published, tmp_path / "d.zarr") == found  # done again, nothing changes
    with pytest.raises(PlanMismatch, match="covered was 208, is 128"):
        take(world, published, tmp_path / "d.zarr", "short.npy")

    export_directions(world, "cpu", store.uri, str(tmp_path / "out"))
    for read in (read_fs3, read_mean_std):
        name = "fs3.npy" if read is read_fs3 else "S_mean_std"
        ours, theirs = read(str(tmp_path / "out" / name)), read(str(published / name))
        for a, b in zip(ours, theirs, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("rows", "prefix", "beta"), [("fs3.npy", "boundary_0.15", 0.15), ("short.npy", "short_boundary_0.1", 0.1)]
)
def test_imported_directions_edit_as_the_published_code_does(
    numbers, world, published, tmp_path, rows, prefix, beta
):
    found = take(world, published, tmp_path / "d.zarr", rows)
    channels = directions(str(tmp_path / "d.zarr"), world, "cpu")
    step = style_direction(channels.directions, torch.from_numpy(numbers["dt"]), beta=beta, std=channels.std)
    layout = bundle(world, "cpu").generator.layout
    theirs = np.concatenate([numbers[f"{prefix}_{name}"] for name in names(layout, "conv")])
    assert np.abs(step.delta.numpy() - theirs).max() < 1e-5
    assert not theirs[found["covered"] :].any()


def test_files_of_the_first_layers_come_back_as_such(numbers, world, published, tmp_path):
    found = take(world, published, tmp_path / "d.zarr", "short.npy")
    assert found["covered"] == int(numbers["short_k"]) and found["layers"] == 4
    export_directions(world, "cpu", str(tmp_path / "d.zarr"), str(tmp_path / "out"))
    assert np.array_equal(read_fs3(str(tmp_path / "out/fs3.npy")), read_fs3(str(published / "short.npy")))


def test_both_published_sizes_fit_the_large_faces():
    layout = StyleLayout.from_channels(
        {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    )
    assert _layers_of(layout, 6048, "f") == 17
    assert layout.conv_layers[_layers_of(layout, 5376, "f") - 1].name == "conv1_128"
    with pytest.raises(StorageError, match=r"6048 rows are all .* 5120, 5376, 5632, .* its first ones"):
        _layers_of(layout, 6000, "f")


def test_our_own_directions_go_out_with_the_statistics_of_every_layer(tiny, tmp_path):
    models = bundle(tiny, "cpu")
    store = DirectionStore.open(str(models.directions))
    export_directions(tiny, "cpu", store.uri, str(tmp_path / "out"))
    back = import_directions(
        tiny,
        "cpu",
        str(tmp_path / "out/fs3.npy"),
        str(tmp_path / "out/S_mean_std"),
        str(tmp_path / "back.zarr"),
    )
    again = DirectionStore.open(back["store"])
    assert np.array_equal(again.directions(), store.directions())
    assert np.array_equal(again.mean, store.mean) and np.array_equal(again.std, store.std)
    means, stds = read_mean_std(str(tmp_path / "out/S_mean_std"))
    assert [len(mean) for mean in means] == [layer.channels for layer in models.generator.layout.layers]
    with torch.inference_mode():
        mean, std = style_statistics(models.generator, 50, 0, models.truncation_psi)
    assert np.allclose(np.concatenate(means), mean.numpy(), atol=1e-6)
    assert np.allclose(np.concatenate(stds), std.numpy(), atol=1e-6)


def test_statistics_of_the_convolutions_alone_are_enough_to_edit(numbers, world, published, tmp_path):
    conv = names(bundle(world, "cpu").generator.layout, "conv")
    write_pickled_arrays(
        str(tmp_path / "S"), [[numbers[f"{kind}_{name}"] for name in conv] for kind in ("mean", "std")]
    )
    found = import_directions(
        world, "cpu", str(published / "fs3.npy"), str(tmp_path / "S"), str(tmp_path / "d.zarr")
    )
    assert DirectionStore.open(found["store"]).torgb is None
    with pytest.raises(StorageError, match="imported without statistics of ToRGB"):
        export_directions(world, "cpu", found["store"], str(tmp_path / "out"))


def test_files_of_other_models_are_refused_by_what_differs(numbers, tiny, world, published, tmp_path):
    def refused(
        message: str, name: str = world, rows: str = "fs3.npy", statistics: str = "S_mean_std"
    ) -> None:
        with pytest.raises(StorageError, match=message):
            take(name, published, tmp_path / "d.zarr", rows, statistics)
        assert not (tmp_path / "d.zarr").exists()

    write_npy(str(published / "odd.npy"), numbers["fs3_float_fresh"][:100])
    refused(
        r"holds 100 rows, .* 208 rows are all its convolution layers, 32, 64, 96, 128, 160, 192 its first",
        rows="odd.npy",
    )
    write_npy(str(published / "narrow.npy"), np.eye(208, 16))
    refused("were made with another CLIP", rows="narrow.npy")
    write_pickled_arrays(str(published / "few"), [[np.ones(32)] * 3, [np.ones(32)] * 3])
    refused("describes 3 layers; this generator has 11 style layers, of which 7", statistics="few")
    write_pickled_arrays(str(published / "wide"), [[np.ones(32)] * 11, [np.ones(32)] * 11])
    refused("conv1_32 has 16 channels in this generator and 32 in the file", statistics="wide")
    take(world, published, tmp_path / "e.zarr")
    with pytest.raises(BundleError, match="belongs to another generator"):
        export_directions(tiny, "cpu", str(tmp_path / "e.zarr"), str(tmp_path / "out"))


def test_what_is_not_known_of_imported_directions_is_said(world, published, tmp_path):
    take(world, published, tmp_path / "d.zarr")
    found = strongest_channels(world, "cpu", str(tmp_path / "d.zarr"), "a smiling face", None, 3)
    assert [channel["reliability"] for channel in found["channels"]] == [None] * 3
    json.dumps(found, allow_nan=False)
    channels = directions(str(tmp_path / "d.zarr"), world, "cpu")
    with pytest.raises(EditError, match="without magnitudes: use the method 'global'"):
        weighted_style_direction(channels.magnitude, torch.ones(32), channels=5, std=channels.std)
