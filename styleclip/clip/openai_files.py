"""CLIP weights as OpenAI published them, which say nothing of their architecture but three numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from styleclip.checkpoints.torch_files import is_torch_file, load_torch_file
from styleclip.checkpoints.torchscript import is_torchscript, load_torchscript_state
from styleclip.errors import CheckpointError

ARCHIVE_SETTINGS = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that OpenAI's archives keep beside the weights."""


def openai_weights(checkpoint: Path) -> dict[str, Tensor] | None:
    """The weights of a file as OpenAI published them, float32: a TorchScript archive, whose program is not run, or a
    state dict that was taken out of one. None for any other file.

    Raises CheckpointError when a torch file or an archive cannot be read.
    """
    try:
        state = load_torchscript_state(checkpoint) if is_torchscript(checkpoint) else _state_dict(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"CLIP checkpoint {error}") from error
    if not ARCHIVE_SETTINGS & state.keys():
        return None
    return {name: value.float() for name, value in state.items() if name not in ARCHIVE_SETTINGS}


def _state_dict(checkpoint: Path) -> Mapping[str, Any]:
    if is_torch_file(checkpoint):
        content = load_torch_file(checkpoint)
        return content["state_dict"] if isinstance(content.get("state_dict"), dict) else content
    try:
        with safe_open(checkpoint, "pt") as file:
            whole = bool(ARCHIVE_SETTINGS & set(file.keys()))
            return {name: file.get_tensor(name) for name in file.keys()} if whole else {}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError):
        return {}  # whoever reads it next says what is wrong with it
