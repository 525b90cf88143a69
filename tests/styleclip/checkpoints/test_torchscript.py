"""TorchScript archives: the weights as torch itself reads them, and nothing else of the file."""

from __future__ import annotations

import os
import pickle
import zipfile

import pytest
import torch
from open_clip.model import CLIP

from styleclip.checkpoints.torchscript import is_torchscript, load_torchscript_state
from styleclip.errors import CheckpointError

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "patch_size": 4, "head_width": 16},
    "text_cfg": {"context_length": 10, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1},
}

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::torch.jit.TracerWarning")


@pytest.mark.parametrize("half", [False, True])
def test_the_state_is_the_one_that_torch_reads(tmp_path, half):
    network = CLIP(**SMALL).eval()
    program = torch.jit.trace(
        network, (torch.zeros(1, 3, 16, 16), torch.zeros(1, 10, dtype=torch.int64)), check_trace=False
    )
    torch.jit.save(program.half() if half else program, tmp_path / "clip.pt")
    assert is_torchscript(tmp_path / "clip.pt")
    state, expected = load_torchscript_state(tmp_path / "clip.pt"), network.state_dict()
    assert set(expected) <= set(state)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor.half() if half else tensor), name


def test_a_state_dict_is_no_torchscript(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "plain.pt")
    assert not is_torchscript(tmp_path / "plain.pt")
    assert not is_torchscript(tmp_path / "missing.pt")


def test_a_program_in_the_tree_is_refused_by_name(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path / 'trace'}'",)

    with zipfile.ZipFile(tmp_path / "bad.pt", "w") as archive:
        archive.writestr("bad/data.pkl", pickle.dumps(Hostile(), protocol=2))
        archive.writestr("bad/constants.pkl", b"")
    with pytest.raises(CheckpointError, match=r"asks for 'posix\.system'"):
        load_torchscript_state(tmp_path / "bad.pt")
    assert not (tmp_path / "trace").exists()


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10**6))
    with pytest.raises(CheckpointError, match="zip bomb"):
        load_torchscript_state(tmp_path / "bomb.pt")
