"""Checkpoints in the formats that others publish, written by the tests themselves: layouts only, no published code."""

from __future__ import annotations

import io
import pickle
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("only its name is ever written")


def _create_array(*_: Any) -> None:
    raise AssertionError("only its name is ever written")


class EasyDict(dict[str, Any]):
    """Stands for the dictionary in which NVlabs keeps settings."""


class PersistentModule:
    """A module as NVlabs' persistence pickles it: by a function's name and a dictionary with its source in it."""

    def __init__(self, class_name: str, source: str = "", **attributes: Any) -> None:
        self.class_name, self.source = class_name, source
        self.state: dict[str, Any] = {
            "training": False,
            "_parameters": OrderedDict(),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
            "_init_args": (),
            "_init_kwargs": EasyDict(),
            **attributes,
        }

    def child(self, name: str, class_name: str) -> PersistentModule:
        """The module inside, made when it is not there yet."""
        modules = self.state["_modules"]
        if name not in modules:
            modules[name] = PersistentModule(class_name, self.source)
        return modules[name]

    def __reduce__(self) -> Any:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.source,
            "class_name": self.class_name,
            "state": self.state,
        }
        return _reconstruct_persistent_obj, (meta,)


@contextmanager
def named(module: str, **members: Any) -> Iterator[None]:
    """Let `members` be pickled as if they stood in `module`."""
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    before = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    for name, member in members.items():
        setattr(sys.modules[module], name, member)
        member.__module__, member.__qualname__ = module, name
    try:
        yield
    finally:
        for name, earlier in before.items():
            if earlier is None:
                del sys.modules[name]
            else:
                sys.modules[name] = earlier


def nvlabs_generator(
    state: Mapping[str, Tensor], source: str = "", **attributes: Mapping[str, Any]
) -> PersistentModule:
    """A Generator from NVlabs' parameter names; `attributes`: module name, dots as `__`, → what else is stored."""
    generator = PersistentModule("Generator", source)
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        module = generator
        for part in path:
            module = module.child(part, "SynthesisLayer")
        kind = "_buffers" if leaf in ("resample_filter", "noise_const", "w_avg") else "_parameters"
        module.state[kind][leaf] = tensor if kind == "_buffers" else torch.nn.Parameter(tensor)
    _dress(generator)
    for at, values in attributes.items():
        module = generator
        for part in at.split("__"):
            module = module.child(part, "SynthesisLayer")
        module.state.update(values)
    return generator


def _dress(module: PersistentModule, at: str = "") -> None:
    """Give each module the attributes that theirs has; gains are NumPy's numbers, as np.sqrt returns them."""
    weight = module.state["_parameters"].get("weight")
    fan = 1 if weight is None else max(1, weight[0].numel())
    keywords = EasyDict()
    if re.search(r"fc\d+$", at):
        module.class_name = "FullyConnectedLayer"
        module.state |= {"activation": "lrelu", "weight_gain": 0.01 / np.sqrt(fan), "bias_gain": 0.01}
    elif at.endswith(("affine", "embed")):
        module.class_name = "FullyConnectedLayer"
        module.state |= {"activation": "linear", "weight_gain": 1 / np.sqrt(fan), "bias_gain": 1}
        keywords = EasyDict(bias_init=1)
    elif re.search(r"conv[01]$", at):
        module.state |= {"use_noise": True, "activation": "lrelu", "conv_clamp": None, "padding": 1}
        module.state |= {"act_gain": np.sqrt(2), "up": 2 if at.endswith("0") else 1}
        keywords = EasyDict(resolution=np.int64(8), channels_last=np.bool_(False))
    elif at.endswith("torgb"):
        module.class_name = "ToRGBLayer"
        module.state |= {"conv_clamp": None, "weight_gain": 1 / np.sqrt(fan)}
    elif re.search(r"b\d+$", at):
        module.class_name = "SynthesisBlock"
        module.state |= {"architecture": "skip", "use_fp16": False, "img_channels": 3}
    elif at == "mapping":
        module.class_name = "MappingNetwork"
        module.state |= {"w_avg_beta": 0.995}
    module.state["_init_kwargs"] = keywords
    for name, child in module.state["_modules"].items():
        _dress(child, f"{at}.{name}".lstrip("."))


Core = Literal["numpy.core", "numpy._core"]


class _Writer(pickle._Pickler):  # the one in Python: the other does not let itself be told a name
    """Writes NumPy's functions under the name of one or the other NumPy, arrays and storages as asked."""

    def __init__(self, file: Any, protocol: int, core: Core, dill: bool, device: str) -> None:
        super().__init__(file, protocol)
        self.core, self.dill, self.device = core, dill, device

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "__module__", None) or ""
        if not module.startswith("numpy._core."):
            return super().save_global(obj, name)
        module, name = module.replace("numpy._core", self.core), obj.__name__
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray) and self.dill:
            function, arguments, state = obj.__reduce__()
            return _create_array, (function, arguments, state, None)
        if isinstance(obj, torch.storage.TypedStorage) and self.device != "cpu":
            data = io.BytesIO()
            torch.save(obj, data, _use_new_zipfile_serialization=False)
            place = len(self.device).to_bytes(4, "little") + self.device.encode()
            moved = data.getvalue().replace(b"X\x03\0\0\0cpu", b"X" + place)
            assert moved != data.getvalue()
            return torch.storage._load_from_bytes, (moved,)
        return NotImplemented


def write_nvlabs_pickle(
    path: Path,
    generator: Any,
    protocol: int = 4,
    core: Core = "numpy.core",
    dill: bool = False,
    device: str = "cpu",
    **others: Any,
) -> Path:
    """A network pickle with `generator` as G_ema, and with all that training keeps beside it."""
    discriminator = PersistentModule("Discriminator", augment=np.float64(0.5), c_dim=0)
    augment = PersistentModule("AugmentPipe", xflip=1.0, brightness_std=np.float64(0.2), labels={"set"})
    augment.state["_buffers"]["p"] = torch.zeros(())
    content = {
        "G": generator,
        "D": discriminator,
        "G_ema": generator,
        "augment_pipe": augment,
        "training_set_kwargs": EasyDict(
            class_name="training.dataset.ImageFolderDataset", max_size=np.int64(7)
        ),
        **others,
    }
    with (
        named("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj),
        named("dnnlib.util", EasyDict=EasyDict),
        named("dill._dill", _create_array=_create_array),
        path.open("wb") as file,
    ):
        _Writer(file, protocol, core, dill, device).dump(content)
    return path


def irse50_state(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    units: tuple[int, ...] = (3, 4, 14, 3),
    dim: int | None = 512,
    squeeze: int = 16,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random weights under the published names of ArcFace IR-SE50 (with other widths: of a thin one)."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        fan = max(1, torch.Size(shape[1:]).numel())
        state[name] = torch.randn(shape, generator=generator) * scale / fan**0.5

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    add("input_layer.0.weight", widths[0], 3, 3, 3)
    norm("input_layer.1", widths[0])
    state["input_layer.2.weight"] = torch.full((widths[0],), 0.25)
    number, inputs = 0, widths[0]
    for width, count in zip(widths, units, strict=True):
        for _ in range(count):
            at = f"body.{number}"
            if inputs != width:
                add(f"{at}.shortcut_layer.0.weight", width, inputs, 1, 1)
                norm(f"{at}.shortcut_layer.1", width)
            norm(f"{at}.res_layer.0", inputs)
            add(f"{at}.res_layer.1.weight", width, inputs, 3, 3)
            state[f"{at}.res_layer.2.weight"] = torch.full((width,), 0.25)
            add(f"{at}.res_layer.3.weight", width, width, 3, 3)
            norm(f"{at}.res_layer.4", width)
            add(f"{at}.res_layer.5.fc1.weight", max(1, width // squeeze), width, 1, 1)
            add(f"{at}.res_layer.5.fc2.weight", width, max(1, width // squeeze), 1, 1)
            number, inputs = number + 1, width
    if dim is not None:
        norm("output_layer.0", widths[-1])
        add("output_layer.3.weight", dim, widths[-1] * 49)
        add("output_layer.3.bias", dim, scale=0.1)
        norm("output_layer.4", dim)
    return state


def e4e_state(
    num_ws: int,
    widths: tuple[int, ...] = (64, 128, 256, 512),
    units: tuple[int, ...] = (3, 4, 14, 3),
    w_dim: int | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random weights under the published names of an e4e encoder (without the prefix `encoder.`)."""
    state = irse50_state(widths, units, dim=None, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    last = widths[-1]
    w_dim = w_dim or last
    for row in range(num_ws):
        halvings = 4 if row < 3 else 5 if row < 7 else 6
        for number in range(halvings):
            inputs = w_dim if number else last
            at = f"styles.{row}.convs.{2 * number}"
            state[f"{at}.weight"] = (
                torch.randn(w_dim, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5
            )
            state[f"{at}.bias"] = torch.randn(w_dim, generator=generator) * 0.1
        state[f"styles.{row}.linear.weight"] = torch.randn(w_dim, w_dim, generator=generator)
        state[f"styles.{row}.linear.bias"] = torch.randn(w_dim, generator=generator) * 0.1
    for name, width in (("latlayer1", widths[2]), ("latlayer2", widths[1])):
        state[f"{name}.weight"] = torch.randn(last, width, 1, 1, generator=generator) / width**0.5
        state[f"{name}.bias"] = torch.randn(last, generator=generator) * 0.1
    return state
