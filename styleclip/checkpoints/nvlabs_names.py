"""Generators in the parameter names of NVlabs' stylegan2-ada-pytorch (also used for StyleGAN2 by stylegan3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from styleclip.checkpoints.strict import load_checked
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator, GeneratorConfig
from styleclip.networks.layout import StyleLayout

MAPPING_LR_MULTIPLIER = 0.01


def _read_config(state: Mapping[str, Tensor]) -> GeneratorConfig:
    channels = {}
    for name, tensor in state.items():
        if match := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name):
            channels[int(match[1])] = tensor.shape[0]
    depth = sum(1 for name in state if re.fullmatch(r"mapping\.fc\d+\.weight", name))
    if not channels or not depth:
        raise CheckpointError(
            "not a StyleGAN2 generator: no synthesis.b*.conv1.weight or mapping.fc*.weight inside"
        )
    if any(name.endswith(".skip.weight") for name in state):
        raise CheckpointError(
            "the generator has residual blocks (architecture 'resnet'); only 'skip' is supported"
        )
    w_dim, features = state["mapping.fc0.weight"].shape
    for name, tensor in state.items():
        if re.fullmatch(r"mapping\.fc\d+\.weight", name) and tensor.shape[0] != w_dim:
            raise CheckpointError(
                f"'{name}' makes {tensor.shape[0]} features, mapping.fc0 {w_dim}: a mapping network whose layers "
                "differ in width (layer_features) is not supported"
            )
        if re.fullmatch(r"synthesis\.b\d+\.torgb\.weight", name) and tensor.shape[0] != 3:
            raise CheckpointError(
                f"the generator makes pictures of {tensor.shape[0]} channels, grey or with transparency: only RGB is "
                "supported"
            )
    embed = state.get("mapping.embed.weight")
    return GeneratorConfig(
        z_dim=features - (0 if embed is None else w_dim),
        w_dim=w_dim,
        channels=channels,
        c_dim=0 if embed is None else embed.shape[1],
        mapping_layers=depth,
        mapping_lr_multiplier=MAPPING_LR_MULTIPLIER,
    )


def from_nvlabs_state(state: Mapping[str, Tensor]) -> Generator:
    """Build our generator from NVlabs' `G_ema` state dict (names → tensors).

    Raises CheckpointError when a parameter is missing or has another shape than the rest implies.
    """
    config = _read_config(state)
    layout = StyleLayout.from_channels(config.channels)
    ours: dict[str, Tensor] = {
        "w_avg": _take(state, "mapping.w_avg"),
        "const": _take(state, "synthesis.b4.const"),
    }
    for index in range(config.mapping_layers):
        for part in ("weight", "bias"):
            ours[f"mapping.layers.{index}.{part}"] = _take(state, f"mapping.fc{index}.{part}")
    if config.c_dim:
        for part in ("weight", "bias"):
            ours[f"mapping.embed.{part}"] = _take(state, f"mapping.embed.{part}")
    for layer in layout.layers:
        block = layer.name.split("_")[0]
        theirs = f"synthesis.b{layer.resolution}.{block}"
        parts = ["affine.weight", "affine.bias", "weight", "bias"]
        if layer.kind == "conv":
            parts += ["noise_strength", "noise_const"]
        for part in parts:
            ours[f"synthesis.{layer.name}.{part}"] = _take(state, f"{theirs}.{part}")
    return load_checked(lambda: Generator(config), ours)


def _take(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise CheckpointError(f"the checkpoint lacks the parameter '{name}'")
    return state[name].float()
