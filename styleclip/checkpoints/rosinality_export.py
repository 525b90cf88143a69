"""Generators out to the layout of rosinality's stylegan2-pytorch, which StyleCLIP's published code reads."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from styleclip.checkpoints.nvlabs_names import MAPPING_LR_MULTIPLIER
from styleclip.checkpoints.torch_writing import save_torch_file
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator


def to_rosinality_state(generator: Generator) -> dict[str, Tensor]:
    """The `g_ema` state dict of a generator: float32, on the CPU, every name that the published class has.

    The published class knows one multiplier of mapping weights, 0.01; another one is multiplied into the weights, which
    changes nothing of what they compute. It clamps no layer: see `GeneratorConfig.conv_clamp`. Raises CheckpointError
    for a class-conditional generator that is not held at one class, and for z and w of different widths.
    """
    config = generator.config
    if config.c_dim:
        raise CheckpointError(
            f"a generator of {config.c_dim} classes does not fit this layout: hold it at one with 'class' in the "
            "bundle's section [generator]"
        )
    if config.z_dim != config.w_dim:
        raise CheckpointError(
            f"a generator whose z is {config.z_dim} wide and whose w is {config.w_dim} does not fit this layout, which "
            "has one width for both"
        )
    ours = {name: value.detach().float().cpu().clone() for name, value in generator.state_dict().items()}
    kernel = generator.kernel.detach().cpu() * 4  # stored with the gain of the upsampling
    folded = config.mapping_lr_multiplier / MAPPING_LR_MULTIPLIER
    state = {"input.input": ours["const"].unsqueeze(0)}
    for index in range(config.mapping_layers):
        for part in ("weight", "bias"):
            state[f"style.{index + 1}.{part}"] = ours[f"mapping.layers.{index}.{part}"] * folded
    convs = rgbs = 0
    for layer in generator.layout.layers:
        name = f"synthesis.{layer.name}"
        if layer.kind == "torgb":
            theirs = "to_rgb1" if rgbs == 0 else f"to_rgbs.{rgbs - 1}"
            state[f"{theirs}.bias"] = ours[f"{name}.bias"].reshape(1, 3, 1, 1)
            if rgbs:
                state[f"{theirs}.upsample.kernel"] = kernel.clone()
            rgbs += 1
        else:
            theirs = "conv1" if convs == 0 else f"convs.{convs - 1}"
            state[f"{theirs}.activate.bias"] = ours[f"{name}.bias"]
            state[f"{theirs}.noise.weight"] = ours[f"{name}.noise_strength"].reshape(1)
            state[f"noises.noise_{convs}"] = ours[f"{name}.noise_const"][None, None]
            if layer.name.startswith("conv0"):
                state[f"{theirs}.conv.blur.kernel"] = kernel.clone()
            convs += 1
        state[f"{theirs}.conv.weight"] = ours[f"{name}.weight"].unsqueeze(0)
        for part in ("weight", "bias"):
            state[f"{theirs}.conv.modulation.{part}"] = ours[f"{name}.affine.{part}"]
    return {name: value.contiguous() for name, value in state.items()}


def save_rosinality(path: str | Path, generator: Generator) -> None:
    """Write `g_ema` and `latent_avg` [w_dim], the truncation centre, as a `.pt` file.

    Raises CheckpointError as `to_rosinality_state` does, and when the file is there already or cannot be written.
    """
    state = to_rosinality_state(generator)
    mean: Tensor = generator.w_avg.detach().float().cpu().clone()
    assert torch.isfinite(mean).all(), "the mean latent is not finite"
    save_torch_file(path, {"g_ema": state, "latent_avg": mean})
