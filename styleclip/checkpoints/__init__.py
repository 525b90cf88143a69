"""Checkpoints in, networks out; nothing that a file contains is ever executed."""

from __future__ import annotations

from pathlib import Path

from styleclip.checkpoints.checked import load_network
from styleclip.checkpoints.native import load_native, save_native
from styleclip.checkpoints.nvlabs import from_nvlabs_state
from styleclip.checkpoints.nvlabs_files import load_nvlabs_pickle
from styleclip.checkpoints.rosinality import from_rosinality_state, load_rosinality_file
from styleclip.checkpoints.torch_files import TORCH_LEGACY, ZIP, load_torch_file
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator, GeneratorConfig

__all__ = [
    "from_nvlabs_state",
    "from_rosinality_state",
    "load_generator",
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
    with path.open("rb") as file:
        start = file.read(len(TORCH_LEGACY))
    if start.startswith(ZIP) or start == TORCH_LEGACY:
        return load_rosinality_file(path)
    if start.startswith(b"\x80"):
        return load_nvlabs_pickle(path)
    return load_network(path, "generator", lambda config: Generator(GeneratorConfig.from_dict(config)))
