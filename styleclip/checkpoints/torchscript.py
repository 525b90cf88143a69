"""The weights inside a TorchScript archive, in which OpenAI published CLIP, without loading its program.

Such an archive keeps the tree of modules in `data.pkl` and each tensor's bytes in `data/N`. Only these are read; the
program under `code/` is not looked at.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.foreign_files import check_promise, reading
from styleclip.errors import CheckpointError

DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


class _Module:
    """A module as it was stored: its attributes by name, nothing of its class."""

    values: dict[str, Any]

    def __new__(cls) -> _Module:
        made = object.__new__(cls)
        made.values = {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.values = dict(state) if isinstance(state, dict) else {}


def _rebuild(whole: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(whole, Tensor) or math.prod(size) > whole.numel():
        raise pickle.UnpicklingError("a tensor larger than its storage")
    return whole.as_strided(tuple(size), tuple(stride), offset)


class _Weights(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return lambda value, _: value
        raise CheckpointError(
            f"asks for '{module}.{name}', which no weights need: refused, and nothing of it was executed"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, _ = pid
        data = self._archive.read(f"{self._folder}data/{key}")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is an archive of torch.jit.save; False for any other, and for one that is not there."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/")[1:2] == ["constants.pkl"] for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def load_torchscript_state(path: str | Path) -> dict[str, Tensor]:
    """All tensors of the modules in a TorchScript archive by their dotted names, on the CPU, as they were stored.

    Plain tensor attributes cannot be told from parameters and come along. Raises CheckpointError.
    """
    path = Path(path)
    state: dict[str, Tensor] = {}
    with reading(path, "TorchScript archive"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_promise(path, [entry for entry in entries if "/code/" not in entry.filename])
        _collect(_Weights(archive, entries[0].filename.split("/")[0] + "/").load(), "", state)
    return state


def _collect(module: Any, prefix: str, state: dict[str, Tensor]) -> None:
    for name, value in module.values.items() if isinstance(module, _Module) else ():
        if isinstance(value, Tensor):
            state[f"{prefix}{name}"] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", state)
