"""Pickles of stylegan2-ada-pytorch and of the stylegan3 repository: G_ema as data, then as our generator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.foreign_files import reading
from styleclip.checkpoints.nvlabs_names import from_nvlabs_state
from styleclip.checkpoints.pickles import InertObject, load_inert
from styleclip.checkpoints.strict import load_checked
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator
from styleclip.networks.layers import binomial_filter

MAX_DEPTH = 12
"""Modules nested deeper than this are no generator; a module that contains itself would never end."""


def load_nvlabs_pickle(path: str | Path) -> Generator:
    """The generator G_ema of a pickle, on the CPU, float32, frozen.

    Resolution, widths, depth, multipliers, clamping and class conditioning are read from the file. Raises
    CheckpointError for StyleGAN3, for what our generator would compute differently, and as `load_inert` does.
    """
    path = Path(path)
    content = load_inert(path)
    with reading(path, "generator"):
        return _generator(content)


def _generator(content: Any) -> Generator:
    network = content.get("G_ema") if isinstance(content, Mapping) else content
    if not isinstance(network, InertObject):
        raise CheckpointError("holds no generator under 'G_ema'")
    modules = dict(_modules(network))
    state = {name: tensor for at, module in modules.items() for name, tensor in _tensors(at, module)}
    if any(name.startswith("synthesis.input.") or re.match(r"synthesis\.L\d+_", name) for name in state):
        raise CheckpointError(
            "a StyleGAN3 generator: not supported, because its layers have no StyleSpace in the sense of the paper; "
            "use a StyleGAN2 generator (the stylegan3 repository publishes some)"
        )
    _check(modules, state)
    multiplier = _attribute(modules, "mapping.fc0", "bias_gain", 0.01)
    clamp = _attribute(modules, "synthesis.b4.conv1", "conv_clamp", None)
    plain = from_nvlabs_state(state)
    if clamp is None and multiplier == plain.config.mapping_lr_multiplier:
        return plain
    config = replace(
        plain.config,
        mapping_lr_multiplier=float(multiplier),
        conv_clamp=None if clamp is None else float(clamp),
    )
    return load_checked(lambda: Generator(config), plain.state_dict())


def _modules(module: InertObject, at: str = "", depth: int = 0) -> Iterator[tuple[str, InertObject]]:
    """(dotted name, module) of a module and all modules inside it."""
    if depth > MAX_DEPTH:
        raise CheckpointError("its modules are nested without end")
    yield at, module
    inside = module.state.get("_modules") or {}
    if not isinstance(inside, Mapping):
        raise CheckpointError(f"the modules of '{at or 'the generator'}' are damaged")
    for name, child in inside.items():
        if isinstance(child, InertObject):
            yield from _modules(child, f"{at}.{name}" if at else str(name), depth + 1)


def _tensors(at: str, module: InertObject) -> Iterator[tuple[str, Tensor]]:
    for kind in ("_parameters", "_buffers"):
        found = module.state.get(kind) or {}
        if not isinstance(found, Mapping):
            raise CheckpointError(f"the tensors of '{at or 'the generator'}' are damaged")
        for name, tensor in found.items():
            if isinstance(tensor, Tensor):
                yield f"{at}.{name}" if at else str(name), tensor


def _attribute(modules: Mapping[str, InertObject], at: str, name: str, default: Any) -> Any:
    value = modules[at].state.get(name, default) if at in modules else default
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise CheckpointError(f"'{name}' of '{at}' is {value!r}, a number is needed")
    return value


def _check(modules: Mapping[str, InertObject], state: Mapping[str, Tensor]) -> None:
    """Refuse, by name, whatever our generator would compute differently."""
    expected = binomial_filter()
    for name, tensor in state.items():
        if name.endswith("resample_filter") and tensor.numel():
            same = tensor.shape == expected.shape and torch.allclose(tensor.float(), expected, atol=1e-6)
            if not same:
                raise CheckpointError(f"'{name}' is not the filter [1, 3, 3, 1]: not supported")
    for at, module in modules.items():
        architecture = module.state.get("architecture", "skip")
        if architecture != "skip":
            raise CheckpointError(f"'{at}' has the architecture '{architecture}': only 'skip' is supported")
        layer = re.fullmatch(r"mapping\.fc\d+|synthesis\.b\d+\.conv[01]", at)
        activation = module.state.get("activation", "lrelu")
        if layer and activation != "lrelu":
            raise CheckpointError(f"'{at}' has the activation '{activation}': only 'lrelu' is supported")
        if layer and module.state.get("use_noise") is False:
            raise CheckpointError(f"'{at}' has no noise (use_noise=False): not supported")
    clamps = {
        str(module.state.get("conv_clamp"))
        for at, module in modules.items()
        if re.fullmatch(r"synthesis\.b\d+\.(conv[01]|torgb)", at)
    }
    if len(clamps) > 1:
        raise CheckpointError(f"its layers are clamped differently ({sorted(clamps)}): not supported")
