"""Checkpoints in, networks out; nothing that a file contains is ever executed."""

from __future__ import annotations

from pathlib import Path

from styleclip.checkpoints.checked import load_network
from styleclip.checkpoints.native import load_native, save_native
from styleclip.checkpoints.nvlabs import from_nvlabs_state
from styleclip.checkpoints.rosinality import from_rosinality_state
from styleclip.networks.generator import Generator, GeneratorConfig

__all__ = [
    "from_nvlabs_state",
    "from_rosinality_state",
    "load_generator",
    "load_native",
    "load_network",
    "save_native",
]


def load_generator(path: str | Path) -> Generator:
    """Load a generator from our own safetensors format, frozen and in eval mode, on the CPU, float32.

    Raises CheckpointError as `load_network` does.
    """
    return load_network(path, "generator", lambda config: Generator(GeneratorConfig.from_dict(config)))
