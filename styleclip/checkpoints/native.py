"""Our own checkpoint format: safetensors whose metadata carries the kind and the configuration.

Nothing is executed when such a file is loaded, and a network is never rebuilt with other multipliers than the ones
it was trained with, because they travel in the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from styleclip.errors import CheckpointError

FORMAT = "styleclip-native"
VERSION = "1"


def save_native(
    path: str | Path,
    kind: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write `state` to `path`; floating tensors are stored as `dtype`, others as they are."""
    tensors = {
        name: (t.detach().cpu().to(dtype) if t.is_floating_point() else t.detach().cpu()).contiguous()
        for name, t in state.items()
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "config": json.dumps(config, sort_keys=True),
    }
    save_file(tensors, str(path), metadata)


def load_native(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Read (kind, config, state); floating tensors come back as float32.

    Raises CheckpointError when the file is missing, is not safetensors, or was not written by this version of
    `save_native`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: safetensors, but not in the format '{FORMAT}' of this program")
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: format version {metadata.get('version')}, this program reads {VERSION}; "
            "use the release that wrote it"
        )
    try:
        kind, config = metadata["kind"], json.loads(metadata["config"])
    except (KeyError, ValueError):
        kind = config = None
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path}: its kind or its configuration is missing or damaged; get the file again"
        )
    return kind, config, {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
