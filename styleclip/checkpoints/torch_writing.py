"""Files in published formats, written as torch.save writes them: whole or not at all, and never over another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from styleclip.errors import CheckpointError


def save_torch_file(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`. Raises CheckpointError when something is there already, or it cannot be written."""
    path = Path(path)
    if path.exists():
        raise CheckpointError(f"{path} is there already: choose another name or move it away")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(content, file)
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
