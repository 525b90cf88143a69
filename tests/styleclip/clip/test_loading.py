"""Weight files as people have them: wrong, damaged, hostile, in other wrappings, trained with another activation."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file
from tiny_bundle import write_bundle

from styleclip.checkpoints import load_native, save_native
from styleclip.clip import load_clip
from styleclip.errors import BundleError, CheckpointError

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "patch_size": 4, "head_width": 16},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


class Hostile:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.fixture(scope="module")
def network() -> CLIP:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return CLIP(**SMALL).eval()


@pytest.fixture
def known(tmp_path):
    (tmp_path / "loading-test.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "loading-test.json")
    return "loading-test"


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("way", ["by name", "by config"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.pt", lambda: b"", "no weight file"),
        ("text.pt", lambda: b"hello", "no weight file"),
        ("nothing.pt", lambda: saved({}), "no weight file"),
        ("tensor.pt", lambda: saved(torch.zeros(3)), "holds a Tensor, a dictionary of tensors is needed"),
        ("other.pt", lambda: saved({"a": torch.zeros(2)}), "Missing key"),
        ("script.pt", script, "lacks the parameter|TorchScript"),
        ("short.safetensors", lambda: b"abc", "header too small"),
        ("cut.pt", lambda: saved({"a": torch.zeros(500)})[:-300], "archive"),
    ],
)
def test_a_file_that_is_no_clip_is_one_line(known, caplog, tmp_path, way, name, content, words):
    path = tmp_path / name
    path.write_bytes(content())
    architecture = {"model": known} if way == "by name" else {"config": SMALL}
    with pytest.raises(CheckpointError, match=words) as caught:
        load_clip(checkpoint=path, **architecture)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 450
    assert caplog.records == [], "the error says it all: open_clip's own log lines are noise"


@pytest.mark.parametrize("way", ["by name", "by config"])
def test_nothing_inside_a_file_is_executed(known, tmp_path, way):
    trace = tmp_path / "executed"
    (tmp_path / "hostile.pt").write_bytes(saved({"state_dict": {"a": Hostile(trace)}}))
    architecture = {"model": known} if way == "by name" else {"config": SMALL}
    with pytest.raises(CheckpointError, match="nothing of it was executed"):
        load_clip(checkpoint=tmp_path / "hostile.pt", **architecture)
    assert not trace.exists()


def test_every_wrapping_of_the_same_weights_is_the_same_clip(network, tmp_path):
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "training.pt")
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "parallel.pt")
    save_file(network.state_dict(), tmp_path / "plain.safetensors")
    (tmp_path / "flat.json").write_text(json.dumps(SMALL))
    mean = [0.1, 0.2, 0.3]
    both = {"model_cfg": SMALL, "preprocess_cfg": {"mean": mean, "std": [1, 1, 1], "size": [3, 16, 16]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(both))
    reference = network.encode_text(open_clip.SimpleTokenizer(context_length=10)(["red hair"]))
    for file in ("training.pt", "parallel.pt", "plain.safetensors"):
        for config in (SMALL, tmp_path / "flat.json", tmp_path / "open_clip_config.json"):
            clip = load_clip(checkpoint=tmp_path / file, config=config)
            torch.testing.assert_close(clip.encode_text(["red hair"]), reference)
    assert clip.mean.tolist() == pytest.approx(mean)


def test_the_activation_is_the_one_that_a_tag_was_trained_with(known, network, tmp_path, monkeypatch):
    """Names without "-quickgelu" mean GELU, also for tags of QuickGELU weights: open_clip warns and goes on."""
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    tags = {
        name: {"file": str(tmp_path / "weights.pt"), "quick_gelu": quick}
        for name, quick in (("quick", True), ("plain", False))
    }
    monkeypatch.setitem(_PRETRAINED, known, tags)
    quick = CLIP(**SMALL, quick_gelu=True).eval()
    quick.load_state_dict(network.state_dict())
    image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    for tag, same, other in (("quick", quick, network), ("plain", network, quick)):
        clip = load_clip(model=known, pretrained=tag)
        normalised = ((image + 1) / 2 - clip.mean[:, None, None]) / clip.std[:, None, None]
        torch.testing.assert_close(clip.encode_image(image), same.encode_image(normalised))
        assert (clip.encode_image(image) - other.encode_image(normalised)).abs().max() > 1e-4


def test_openais_own_weights_are_known_to_need_quick_gelu():
    assert open_clip.get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"]


def test_a_file_called_like_a_tag_is_a_file(known, network, tmp_path, monkeypatch):
    monkeypatch.setitem(_PRETRAINED, known, {"openai": {"url": "nowhere"}})
    monkeypatch.chdir(tmp_path)
    torch.save(network.state_dict(), "openai")
    assert load_clip(model=known, checkpoint="openai").name == f"{known}/openai"


def test_how_a_tag_wants_its_pictures_is_heeded(known, network, tmp_path, monkeypatch):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    wishes = {"resize_mode": "squash", "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    monkeypatch.setitem(_PRETRAINED, known, {"tag": {"file": str(tmp_path / "weights.pt")} | wishes})
    clip = load_clip(model=known, pretrained="tag")
    assert (clip.resize_mode, clip.interpolation, clip.mean.tolist()) == ("squash", "bilinear", [0.5] * 3)


def test_weights_that_cannot_be_had_are_one_line(caplog):
    with pytest.raises(CheckpointError, match="'RN50' cannot take openai") as caught:
        load_clip(model="RN50", pretrained="openai")  # the tests have no network
    assert "\n" not in str(caught.value) and caplog.records == []


def test_a_vocabulary_must_fit_the_text_tower(tmp_path):
    path = write_bundle(tmp_path).parent / "clip.safetensors"
    _, config, state = load_native(path)
    save_native(path, "clip", config | {"vocabulary": config["vocabulary"][:-1]}, state)
    with pytest.raises(CheckpointError, match="needs vocab_size"):
        load_clip(checkpoint=path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"model": "ViT-B-32", "pretrained": "openai", "checkpoint": "weights"},
            "either the tag 'openai' or",
        ),
        (
            {"model": "ViT-B-32", "config": SMALL, "checkpoint": "weights"},
            "either the model name 'ViT-B-32' or",
        ),
        ({"config": {"embed_dim": 3}, "checkpoint": "weights"}, "lacks 'vision_cfg'"),
        ({"config": "missing.json", "checkpoint": "weights"}, "missing.json cannot be read"),
        ({"config": SMALL | {"colour": 1}, "checkpoint": "weights"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_contradictions_are_one_line(network, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    torch.save(network.state_dict(), "weights")
    with pytest.raises((BundleError, CheckpointError), match=words) as caught:
        load_clip(**arguments)
    assert "\n" not in str(caught.value)
