"""CLIP from a TorchScript archive in OpenAI's layout: its weights are read, its program is not."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from styleclip.clip import load_clip
from styleclip.errors import CheckpointError

MODEL = "ViT-S-32-alt"


class Holder(nn.Module):
    """A tree of modules that holds tensors under given names, and can be scripted."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def archive(path: Path, state: dict[str, Tensor]) -> Path:
    """`state` as a TorchScript archive with the extra numbers that OpenAI's files carry, in half precision."""
    root = Holder()
    for name, value in (
        state | {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}
    ).items():
        module, *rest = root, *name.split(".")
        for part in rest[:-1]:
            if part not in dict(module.named_children()):
                module.add_module(part, Holder())
            module = getattr(module, part)
        value = value.half() if value.is_floating_point() else value
        if value.is_floating_point():
            module.register_parameter(rest[-1], nn.Parameter(value, requires_grad=False))
        else:
            module.register_buffer(rest[-1], value)
    torch.jit.save(torch.jit.script(root), path)
    return path


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return open_clip.create_model(MODEL, pretrained=None, force_quick_gelu=True).eval()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_archive_gives_the_weights_that_are_in_it(network, tmp_path):
    clip = load_clip(model=MODEL, checkpoint=archive(tmp_path / "clip.pt", network.state_dict()))
    image = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.no_grad():
        network.load_state_dict(
            {n: v.half().float() if v.is_floating_point() else v for n, v in network.state_dict().items()}
        )
        text = open_clip.get_tokenizer(MODEL)(["a face"])
        ours, theirs = clip.encode_text(["a face"]), network.encode_text(text)
        assert nn.functional.cosine_similarity(ours, theirs).item() == pytest.approx(1, abs=1e-5)
        assert clip.encode_image(image).shape == (2, network.visual.output_dim)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_archive_of_another_model_says_which_parameter_does_not_fit(network, tmp_path):
    state = dict(network.state_dict())
    state["text_projection"] = torch.zeros(8, 8)
    with pytest.raises(
        CheckpointError, match=r"cannot take .*clip\.pt: parameter 'text_projection' has shape \(8, 8\)"
    ):
        load_clip(model=MODEL, checkpoint=archive(tmp_path / "clip.pt", state))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("by", ["model", "config"])
def test_a_state_dict_taken_out_of_an_archive_is_the_same_clip(network, tmp_path, ending, by):
    """As `torch.jit.load(…).state_dict()` gives it: the archive's numbers stand beside the weights."""
    numbers = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    halves = {n: v.half() if v.is_floating_point() else v for n, v in network.state_dict().items()}
    file = tmp_path / f"clip{ending}"
    torch.save(halves | numbers, file) if ending == ".pt" else save_file(halves | numbers, file)
    kind = {"model": MODEL} if by == "model" else {"config": open_clip.get_model_config(MODEL)}
    clip = load_clip(checkpoint=file, **kind)
    reference = load_clip(model=MODEL, checkpoint=archive(tmp_path / "archive.pt", network.state_dict()))
    with torch.no_grad():
        ours, theirs = clip.encode_text(["a face"]), reference.encode_text(["a face"])
    assert torch.equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_archive_may_come_with_a_configuration(network, tmp_path):
    file = archive(tmp_path / "clip.pt", network.state_dict())
    with torch.no_grad():
        ours, theirs = (
            load_clip(checkpoint=file, **kind).encode_text(["a face"])
            for kind in ({"config": open_clip.get_model_config(MODEL)}, {"model": MODEL})
        )
    assert torch.equal(ours, theirs)


def test_a_whole_module_is_refused_in_its_own_words(network, tmp_path):
    torch.save(network, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match=r"whole CLIP .* save its weights instead"):
        load_clip(model=MODEL, checkpoint=tmp_path / "clip.pt")
