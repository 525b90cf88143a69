"""What we export, read and used as StyleCLIP's published code does: the same channels, the same picture."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from storage import DirectionStore
from styleclip.bundles.load import Bundle
from styleclip.methods import read_edit
from styleclip.methods.face import InvertedBatch
from styleclip.pixels import to_bytes
from tasks.edit.compile import compile_edits
from tasks.exchange.directions import export_directions
from tasks.process.models import bundle

TARGET, NEUTRAL, ALPHA = "hat", "face", 4.0


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory) -> str:
    """The tiny bundle with the templates of the published code."""
    text = Path(tiny).read_text().replace('["{}", "a picture of {}"]', '"styleclip"')
    path = tmp_path_factory.mktemp("published") / "published.toml"
    path.write_text(re.sub(r'(path|checkpoint) = "', rf"\g<0>{Path(tiny).parent}/", text))
    return str(path)


def published_files(name: str, folder: Path) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """(fs3, code_mean, code_std) of the bundle's exported directions, opened as the published code opens them."""
    export_directions(name, "cpu", str(bundle(name, "cpu").directions), str(folder))
    fs3 = np.load(folder / "fs3.npy")
    with (folder / "S_mean_std").open("rb") as file:
        mean, std = pickle.load(file)
    return fs3, mean, std


def published_dt(models: Bundle) -> np.ndarray:
    """Every template's embedding unit, their mean unit, target minus neutral unit."""
    # StyleCLIP's list is this one, with one line of it commented out
    templates = [text for text in (make("{}") for make in OPENAI_IMAGENET_TEMPLATES) if "of many" not in text]
    weights = []
    with torch.no_grad():
        for words in (TARGET, NEUTRAL):
            each = models.clip.encode_text([template.format(words) for template in templates])
            each = each / each.norm(dim=-1, keepdim=True)
            mean = each.mean(dim=0)
            weights.append((mean / mean.norm()).numpy())
    dt = weights[0] - weights[1]
    return dt / np.linalg.norm(dt)


def published_boundary(
    fs3: np.ndarray, dt: np.ndarray, std: list[np.ndarray], is_conv: Sequence[bool], beta: float
) -> list[np.ndarray]:
    """Threshold, division by the largest, times σ; zeros for the layers of ToRGB."""
    projected = fs3 @ dt
    projected[np.abs(projected) < beta] = 0
    projected = projected / np.abs(projected).max()
    boundary, start = [], 0
    for sigma, conv in zip(std, is_conv, strict=True):
        if conv:
            boundary.append(projected[start : start + len(sigma)] * sigma)
            start += len(sigma)
        else:
            boundary.append(np.zeros_like(sigma))
    assert start == len(fs3)
    return boundary


def test_an_edit_moves_the_channels_of_the_published_code_and_gives_its_picture(world, tmp_path):
    models = bundle(world, "cpu")
    layout = models.generator.layout
    fs3, mean, std = published_files(world, tmp_path / "out")
    assert fs3.dtype == np.float32 and [len(layer) for layer in mean] == [
        layer.channels for layer in layout.layers
    ]
    dt = published_dt(models)
    ranked = np.sort(np.abs(fs3 @ dt))
    beta = float((ranked[-10] + ranked[-11]) / 2)
    is_conv = [layer.kind == "conv" for layer in layout.layers]
    theirs = np.concatenate(published_boundary(fs3, dt, std, is_conv, beta))

    edit = {
        "name": "smile", "method": "global", "neutral": NEUTRAL, "target": TARGET, "alpha": ALPHA, "beta": beta,
        "channels": None,
    }  # fmt: skip
    (ours,) = compile_edits(world, "cpu", None, [read_edit(edit)])
    assert np.array_equal(ours.shift.numpy() != 0, theirs != 0) and int((theirs != 0).sum()) == 10
    np.testing.assert_allclose(ours.shift.numpy(), ALPHA * theirs, rtol=1e-3, atol=1e-5)

    z = torch.randn(4, models.generator.z_dim, generator=torch.Generator().manual_seed(11))
    with torch.inference_mode():
        w = models.generator.map(z, truncation_psi=0.7)
        s = models.generator.styles(w)
        picture = to_bytes(ours.apply(models, InvertedBatch(w, s, seen=None)).images).numpy()
        moved = models.generator.synthesize(s + torch.from_numpy(ALPHA * theirs).float())
        before = to_bytes(models.generator.synthesize(s)).numpy()
    published = (moved.permute(0, 2, 3, 1) * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()
    assert np.abs(picture.astype(int) - published).max() <= 1 < np.abs(picture.astype(int) - before).max()


def test_codes_that_go_out_are_a_tensor_as_the_published_code_loads_it(tiny, tmp_path):
    from storage.latents import LatentStore
    from tasks.exchange.latents import export_latents

    generator = bundle(tiny, "cpu").generator
    codes = np.random.default_rng(0).normal(size=(3, generator.num_ws, generator.w_dim)).astype(np.float32)
    store = LatentStore.create(
        str(tmp_path / "l.zarr"), ["a", "b", "c"], generator.num_ws, generator.w_dim, {}, 2
    )
    for shard in store.missing_shards():
        part = codes[2 * shard : 2 * shard + 2]
        store.write_shard(shard, part, np.ones(len(part), bool))
    export_latents(store.uri, str(tmp_path / "latents.pt"))
    latents = torch.load(tmp_path / "latents.pt")
    assert isinstance(latents, torch.Tensor) and np.array_equal(latents.numpy(), codes)


def test_the_exported_rows_are_those_of_the_store(tiny, tmp_path):
    fs3, _, std = published_files(tiny, tmp_path / "out")
    store = DirectionStore.open(str(bundle(tiny, "cpu").directions))
    layers = bundle(tiny, "cpu").generator.layout.layers
    assert np.array_equal(fs3, store.directions())
    conv = [sigma for sigma, layer in zip(std, layers, strict=True) if layer.kind == "conv"]
    assert np.array_equal(np.concatenate(conv), store.std)
