"""Checkpoints in, networks out; nothing that a file contains is ever executed."""

from __future__ import annotations

from pathlib import Path

from styleclip.checkpoints.native import load_native, save_native
from styleclip.checkpoints.nvlabs import from_nvlabs_state, load_checked
from styleclip.checkpoints.rosinality import from_rosinality_state
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator, GeneratorConfig

__all__ = ["from_nvlabs_state", "from_rosinality_state", "load_generator", "load_native", "save_native"]


def load_generator(path: str | Path) -> Generator:
    """Load a generator from our own safetensors format, frozen and in eval mode, on the CPU, float32.

    Raises CheckpointError when the file is missing, unreadable, or holds another kind of network.
    """
    kind, config, state = load_native(path)
    if kind != "generator":
        raise CheckpointError(f"{path}: holds a network of kind '{kind}', a generator is needed")
    return load_checked(Generator(GeneratorConfig.from_dict(config)), state)
