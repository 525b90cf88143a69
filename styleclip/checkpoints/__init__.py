"""Checkpoints in, networks out; nothing that a file contains is ever executed."""

from __future__ import annotations

from pathlib import Path

from styleclip.checkpoints.identity_and_encoders import load_encoder, load_identity
from styleclip.checkpoints.native import load_native, save_native
from styleclip.checkpoints.nvlabs_names import from_nvlabs_state
from styleclip.checkpoints.nvlabs_pickles import load_nvlabs_pickle
from styleclip.checkpoints.rosinality import from_rosinality_state, load_rosinality_file
from styleclip.checkpoints.strict import load_network
from styleclip.checkpoints.torch_files import is_torch_file, load_torch_file
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator, GeneratorConfig

__all__ = [
    "from_nvlabs_state",
    "from_rosinality_state",
    "load_encoder",
    "load_generator",
    "load_identity",
    "load_native",
    "load_network",
    "load_torch_file",
    "save_native",
]


def load_generator(path: str | Path) -> Generator:
    """Load a StyleGAN2 generator of any known format, frozen and in eval mode, on the CPU, float32.

    Known are our own safetensors, the pickles of stylegan2-ada-pytorch and of the stylegan3 repository, and the `.pt`
    files of rosinality's stylegan2-pytorch. The content decides, not the name of the file. Raises CheckpointError.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if is_torch_file(path):
        return load_rosinality_file(path)
    with path.open("rb") as file:
        start = file.read(9)
    # The length of a safetensors header may happen to begin like a pickle; its ninth byte does not.
    if start.startswith(b"\x80") and not start.endswith(b"{"):
        return load_nvlabs_pickle(path)
    return load_network(path, "generator", lambda config: Generator(GeneratorConfig.from_dict(config)))
