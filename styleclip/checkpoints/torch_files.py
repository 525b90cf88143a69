"""Files that torch.save wrote, read without executing anything that they contain."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.foreign_files import check_promise, reading
from styleclip.errors import CheckpointError

ZIP = b"PK"
TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch.save begin: a zip archive, or before torch 1.6 a pickled magic number."""
MAX_DEPTH = 32
"""Containers nested deeper than this are no checkpoint; walking them could overflow the stack."""


def load_torch_file(path: str | Path) -> dict[str, Any]:
    """What a `.pt` or `.pth` file holds: tensors on the CPU inside plain containers.

    Only tensors, containers, numbers and texts are rebuilt; `argparse.Namespace`, in which published checkpoints keep
    their options, comes back as a dictionary. Raises CheckpointError for a file that is missing or damaged, asks for
    anything else (named), promises more data than it has, or does not hold a dictionary.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    check_archive(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a hostile file may fail anywhere inside the reader
        raise CheckpointError(f"{path}: {reason_of(error)}") from None
    plain = _plain(content, path)
    if not isinstance(plain, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, a dictionary of tensors is needed")
    return plain


def is_torch_file(path: str | Path) -> bool:
    """Whether a file begins as torch.save begins one; False for a file that is not there."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(TORCH_LEGACY))
    return start.startswith(ZIP) or start == TORCH_LEGACY


def reason_of(error: Exception) -> str:
    """Why torch would not read a file, in one line."""
    text = str(error)
    if match := re.search(
        r"(?:GLOBAL |class |global )[`']?([\w.]+)[`']? (?:was not an allowed|is not allowed)", text
    ):
        if match[1].startswith("torch_utils.persistence."):
            return (
                "holds a whole network of NVlabs' code (torch.save(G)), as PTI writes: a program, which is not run; in "
                "that code write it as a pickle, pickle.dump({'G_ema': G}, file)"
            )
        if match[1].startswith(("clip.model.", "open_clip.")):
            return (
                "holds a whole CLIP (torch.save(model)): a program, which is not run; save its weights instead, "
                "torch.save(model.state_dict(), file)"
            )
        return f"asks for '{match[1]}', which no checkpoint needs: refused, and nothing of it was executed"
    if "Unsupported" in text or "not an allowed" in text or "weights_only" in text.lower():
        found = re.search(r"(?:Unsupported global: GLOBAL|GLOBAL|Unsupported \w+:?)\s+([\w.]+)", text)
        what = f"asks for '{found[1]}'" if found else "asks for something that is no tensor"
        return f"{what}: refused, and nothing of it was executed"
    line = (text.strip().splitlines() or ["no reason given"])[0]
    return f"not a readable torch file ({type(error).__name__}: {line[:200]})"


def check_archive(path: Path) -> None:
    """Refuse a zip archive that unpacks to more than itself: torch stores tensors as they are.

    Raises CheckpointError.
    """
    if not zipfile.is_zipfile(path):
        return
    with reading(path, "archive"):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if packed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
            raise CheckpointError(
                f"'{packed[0]}' inside is compressed, which torch.save never does: refused, it may be a zip bomb"
            )
        check_promise(path, entries)


def _plain(value: Any, path: Path, depth: int = 0) -> Any:
    """Namespaces as dictionaries, wherever they are; refuses what is nested without end."""
    if depth > MAX_DEPTH:
        raise CheckpointError(f"{path}: its containers are nested deeper than {MAX_DEPTH}: refused")
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Tensor) and value.numel() * value.element_size() > path.stat().st_size:
        # one number with a stride of zero can stand for terabytes, which a network of that shape would really take
        raise CheckpointError(
            f"{path}: holds a tensor of {list(value.shape)}, more data than the file has: refused"
        )
    if isinstance(value, Mapping):
        return {key: _plain(each, path, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, path, depth + 1) for each in value]
    return value
