"""Pickles as data: a restricted unpickler for the files in which NVlabs publishes its networks.

Such a pickle holds objects whose Python source lies beside them, and the published loader runs that source. Here an
object is only what was stored of it: a name and a dictionary. Everything else a pickle may call is on the list
below; whatever is not is refused by its name, before anything is called.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.foreign_files import reading
from styleclip.checkpoints.pickled_numpy import numpy_names
from styleclip.errors import CheckpointError

TENSORFLOW = "dnnlib.tflib"
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Names by which pickles of protocol 2 call modules of Python's own."""


@dataclass
class InertObject:
    """An object of some class as it was stored: nothing of the class is there. `class_name` is what the file says."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)

    def __setstate__(self, state: Any) -> None:
        # Pickle hands over what the object's dictionary held; anything else has no meaning here.
        self.state = dict(state) if isinstance(state, Mapping) else {}


def _allowed() -> dict[tuple[str, str], Any]:
    """What a pickle may ask for. Made anew for every file: nothing that a file does to them outlives it."""

    class Dictionary(dict[Any, Any]):
        """Stands for the attribute dictionaries (EasyDict) that NVlabs keeps settings in."""

    def load_from_bytes(data: Any) -> Any:
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("a tensor's storage must be bytes")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)

    def reconstructor(kind: Any, _: Any, content: Any) -> Dictionary:
        if kind is not Dictionary:
            raise pickle.UnpicklingError("an object of a class that no network keeps")
        return Dictionary(content or {})

    def no_bytes() -> bytes:
        return b""

    def encode(text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("bytes in another encoding than latin1")
        return text.encode("latin1")

    def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(storage, torch.storage.TypedStorage):
            raise pickle.UnpicklingError("a tensor without a storage")
        # the public way to the bytes warns that typed storages are old, which published files are
        whole = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
        if math.prod(size) > len(whole):
            raise pickle.UnpicklingError(
                f"a tensor of size {tuple(size)} in a storage of {len(whole)} numbers"
            )
        return whole.as_strided(tuple(size), tuple(stride), offset)

    def rebuild_parameter(data: Any, *_: Any) -> Tensor:
        if not isinstance(data, Tensor):
            raise pickle.UnpicklingError("a parameter without a tensor")
        return data

    def reconstruct_persistent(meta: Any) -> InertObject:
        if not isinstance(meta, Mapping) or not isinstance(meta.get("state"), Mapping):
            raise pickle.UnpicklingError("a persistent object without a state")
        return InertObject(str(meta.get("class_name")), dict(meta["state"]))

    allowed: dict[tuple[str, str], Any] = numpy_names() | {
        ("collections", "OrderedDict"): OrderedDict,
        ("copyreg", "_reconstructor"): reconstructor,  # how protocols before 2 write an EasyDict
        ("builtins", "dict"): Dictionary,
        ("builtins", "set"): set,
        ("builtins", "frozenset"): frozenset,
        ("builtins", "bytes"): no_bytes,  # empty ones, before protocol 3
        ("_codecs", "encode"): encode,  # how protocols before 3 write bytes
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
        ("torch.storage", "_load_from_bytes"): load_from_bytes,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): reconstruct_persistent,
        ("dnnlib", "EasyDict"): Dictionary,
        ("dnnlib.util", "EasyDict"): Dictionary,
    }
    for name in (
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
    ):
        allowed["torch", name] = getattr(torch, name)
    return allowed


class _Restricted(pickle.Unpickler):
    """Knows the names of `_allowed`, and makes inert objects of plain torch modules."""

    def __init__(self, file: io.BufferedIOBase | Any) -> None:
        super().__init__(file)
        self._known = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        module = PYTHON_2.get(module, module)
        if (module, name) in self._known:
            return self._known[module, name]
        if module.startswith("torch.nn.modules.") and name.isidentifier():
            return _module_class(name)
        if module.startswith(TENSORFLOW):
            raise CheckpointError(
                "a TensorFlow pickle of the first StyleGAN2: convert it with legacy.py of stylegan2-ada-pytorch"
            )
        raise CheckpointError(
            f"asks for '{module}.{name}', which no generator needs: refused, and nothing of it was executed"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError("refers to objects outside of the file: refused")


def _module_class(name: str) -> Callable[[], InertObject]:
    class Module(InertObject):
        def __init__(self) -> None:
            super().__init__(name)

        def __new__(cls) -> Module:
            made = object.__new__(cls)
            made.class_name, made.state = name, {}
            return made

    return Module


def load_inert(path: str | Path) -> Any:
    """The content of a pickle, objects of unknown classes as `InertObject`.

    Raises CheckpointError for a file that is missing or damaged, or asks for anything that is not on the list.
    """
    path = Path(path)
    with reading(path, "pickle"), path.open("rb") as file:
        return _Restricted(file).load()
