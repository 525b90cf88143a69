"""CLIP models of every origin: custom configuration, local checkpoint, and what is refused."""

from __future__ import annotations

import json
import socket

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIP
from tiny_bundle import WORDS, write_bundle

from styleclip.checkpoints import load_native, save_native
from styleclip.clip import ClipModel, CompactTokenizer, load_clip
from styleclip.errors import BundleError, CheckpointError, PromptError

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("clip")).parent / "clip.safetensors"


@pytest.fixture
def known(tmp_path):
    """A model that open_clip knows by name, and a checkpoint for it."""
    (tmp_path / "small-for-tests.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small-for-tests.json")
    network = open_clip.create_model("small-for-tests")
    torch.save(network.state_dict(), tmp_path / "small.pt")
    return tmp_path / "small.pt", network.eval()


def test_custom_configuration_travels_with_the_weights(custom):
    clip = load_clip(checkpoint=custom)
    image = torch.rand(3, 3, 40, 40) * 2 - 1
    assert clip.encode_image(image).shape == (3, clip.dim)
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    alone = torch.cat([clip.encode_image(image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(clip.encode_image(image), alone, atol=1e-5, rtol=1e-4)


def test_a_convolutional_tower_travels_the_same_way(custom, tmp_path):
    """Four numbers for layers make open_clip build its modified ResNet: what the avatars CLIP is."""
    _, config, _ = load_native(custom)
    config["vision_cfg"] = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    config |= {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.4, 0.5]}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = CLIP(**{key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}).eval()
    save_native(tmp_path / "resnet.safetensors", "clip", config, network.state_dict(), torch.float32)
    clip = load_clip(checkpoint=tmp_path / "resnet.safetensors")
    assert type(clip.model.visual).__name__ == "ModifiedResNet"
    assert (clip.name, clip.image_size, clip.dim) == ("resnet", 32, 16)
    image = torch.linspace(0, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close(
        clip.encode_image(image * 2 - 1), network.encode_image((image - mean) / std), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    "change",
    [{"mean": [0.5, 0.5]}, {"mean": "abc"}, {"std": [1, 0, 1]}, {"std": 0.5}, {"mean": [1, 2, None]}],
)
def test_a_normalisation_that_is_none_is_one_clear_line(custom, tmp_path, change):
    _, config, state = load_native(custom)
    save_native(tmp_path / "x.safetensors", "clip", config | change, state)
    with pytest.raises(BundleError, match=f"CLIP 'x': '{next(iter(change))}' must be three numbers"):
        load_clip(checkpoint=tmp_path / "x.safetensors")


def test_text_is_read_at_its_end(custom):
    """What stands behind the end of the text, padding, changes nothing; what stands at the end changes all."""
    clip = load_clip(checkpoint=custom)
    table = clip.model.token_embedding.weight
    before = clip.encode_text(["a face"])
    # A ramp: layer normalisation would undo a step that is the same for all features.
    step = torch.linspace(-1, 1, table.shape[1])
    with torch.no_grad():
        table[0] += step
        assert torch.equal(clip.encode_text(["a face"]), before)
        table[clip.tokenizer.end_of_text] += step
        assert (clip.encode_text(["a face"]) - before).abs().max() > 1e-3


def test_local_files_need_no_network(custom, known, monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError(f"somebody called {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    path, _ = known
    assert load_clip(checkpoint=custom).dim == load_clip(model="small-for-tests", checkpoint=path).dim == 16


def test_text_does_not_depend_on_its_neighbours(custom):
    clip = load_clip(checkpoint=custom)
    together = clip.encode_text(["a face", "a face with red hair"])
    torch.testing.assert_close(together[:1], clip.encode_text(["a face"]), atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_unknown_words_are_named(custom):
    assert load_clip(checkpoint=custom).unknown_words("a face with purple hair") == ["purple"]


def test_a_known_architecture_with_a_local_checkpoint(known):
    path, network = known
    clip = load_clip(model="small-for-tests", checkpoint=path)
    assert (clip.image_size, clip.context_length, clip.dim) == (32, 10, 16)
    image = torch.rand(2, 3, 32, 32)
    normalised = (image - clip.mean[:, None, None]) / clip.std[:, None, None]
    torch.testing.assert_close(
        clip.encode_image(image * 2 - 1), network.encode_image(normalised), atol=1e-4, rtol=1e-3
    )
    tokens = open_clip.get_tokenizer("small-for-tests")(["red hair"])
    torch.testing.assert_close(
        clip.encode_text(["red hair"]), network.encode_text(tokens), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(PromptError, match="shorten it"):
        clip.check_prompt("one two three four five six seven eight nine ten eleven")


def test_prompts_that_do_not_fit_are_refused(custom):
    clip = load_clip(checkpoint=custom)
    clip.check_prompt("a face " * 5)
    for long in ("a face " * 5 + "a", "a face " * 500, "a\nface\n" * 9):
        with pytest.raises(PromptError, match="shorten it") as caught:
            clip.encode_text([long])
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
    with pytest.raises(PromptError, match="empty"):
        clip.encode_text(["  "])


def test_wrong_pairings_are_one_clear_line(custom, known, tmp_path):
    path, _ = known
    cases = [
        (
            BundleError,
            "knows no model 'ViT-B-33'; nearest: ViT-B-32",
            {"model": "ViT-B-33", "pretrained": "openai"},
        ),
        (
            BundleError,
            "has no weights 'nobody' for 'ViT-B-32'",
            {"model": "ViT-B-32", "pretrained": "nobody"},
        ),
        (BundleError, "needs a checkpoint file or one of the tags", {"model": "ViT-B-32"}),
        (BundleError, "needs a model name", {}),
        (CheckpointError, "no such file", {"model": "ViT-B-32", "checkpoint": tmp_path / "no.pt"}),
        (CheckpointError, "cannot take", {"model": "RN50", "checkpoint": path}),
        (CheckpointError, "not a readable safetensors", {"checkpoint": path}),
        (CheckpointError, "do not fit the CLIP configuration", {"checkpoint": custom, "config": SMALL}),
        (BundleError, "needs a checkpoint file", {"config": SMALL}),
    ]
    for error, words, arguments in cases:
        with pytest.raises(error, match=words) as caught:
            load_clip(**arguments)
        assert "\n" not in str(caught.value)


class SentencePieceLike:
    """Words as ids, one end token, and the end token as padding: what SigLIP's tokenizer does."""

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length

    def __call__(self, texts, context_length=None):
        length = context_length or self.context_length
        rows = [[*[2 + len(word) for word in text.split()][: length - 1], 1] for text in texts]
        return torch.tensor([row + [1] * (length - len(row)) for row in rows])


@pytest.mark.parametrize("words", [1, 8, 9, 10, 11, 19, 20, 50])
def test_prompts_are_measured_whatever_the_padding(words):
    network = CLIP(**SMALL | {"text_cfg": SMALL["text_cfg"] | {"pool_type": "last"}})
    clip = ClipModel("padded", network, SentencePieceLike(10), 32, 10, [0.5] * 3, [0.5] * 3)
    prompt = " ".join(["word"] * words)
    if words <= 9:
        assert clip.encode_text([prompt]).shape == (1, 16)
    else:
        with pytest.raises(PromptError, match="padded reads 10"):
            clip.encode_text([prompt])


@settings(deadline=None)
@given(text=st.text(alphabet="abcdefghij redhairface.,-", max_size=80))
def test_the_end_of_text_is_the_largest_id(text):
    tokenizer = CompactTokenizer.from_captions(WORDS, 12)
    row = tokenizer([text])[0]
    end = int(row.argmax())
    assert row[end] == tokenizer.end_of_text and (row[end + 1 :] == 0).all()
    assert row[0] == tokenizer.start_of_text


def test_known_text_has_no_unknown_words(custom):
    tokenizer = CompactTokenizer.from_captions(WORDS, 12)
    assert all(tokenizer.unknown_words(text) == [] for text in WORDS)
    _, config, _ = load_native(custom)
    assert config["vocabulary"] == list(tokenizer.vocabulary)


def test_another_kind_of_network_is_no_clip(tmp_path):
    save_native(tmp_path / "x.safetensors", "encoder", {}, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="kind 'encoder'"):
        load_clip(checkpoint=tmp_path / "x.safetensors")
