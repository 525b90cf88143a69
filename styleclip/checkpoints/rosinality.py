"""Generators in the parameter names of rosinality's stylegan2-pytorch, which StyleCLIP itself uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from styleclip.checkpoints.foreign_files import reading
from styleclip.checkpoints.nvlabs_names import MAPPING_LR_MULTIPLIER, _take
from styleclip.checkpoints.strict import load_checked
from styleclip.checkpoints.torch_files import load_torch_file
from styleclip.errors import CheckpointError
from styleclip.networks.generator import Generator, GeneratorConfig
from styleclip.networks.layers import binomial_filter
from styleclip.networks.layout import StyleLayout

MEAN_SAMPLES, MEAN_SEED = 4096, 0


def _read_config(state: Mapping[str, Tensor]) -> GeneratorConfig:
    depth = sum(1 for name in state if re.fullmatch(r"style\.\d+\.weight", name))
    convs = sum(1 for name in state if re.fullmatch(r"convs\.\d+\.conv\.weight", name))
    if not depth or convs % 2:
        raise CheckpointError(
            "not a StyleGAN2 generator: no style.*.weight, or an odd number of convs.*.conv.weight"
        )
    channels = {4: _take(state, "conv1.conv.weight").shape[1]}
    for index in range(1, convs, 2):
        channels[4 << (index // 2 + 1)] = _take(state, f"convs.{index}.conv.weight").shape[1]
    w_dim, z_dim = _take(state, "style.1.weight").shape
    return GeneratorConfig(
        z_dim=z_dim,
        w_dim=w_dim,
        channels=channels,
        mapping_layers=depth,
        mapping_lr_multiplier=MAPPING_LR_MULTIPLIER,
    )


def from_rosinality_state(state: Mapping[str, Tensor], latent_avg: Tensor | None = None) -> Generator:
    """Build our generator from a `g_ema` state dict; `latent_avg` [w_dim] is the truncation centre.

    Where the file has none, as training leaves it, the centre is the mean of MEAN_SAMPLES mapped z, as in the
    published code. Where it has no constant noise, as in files before 2020, there is none. The generator's `notes` say
    either. Raises CheckpointError when a parameter is missing or has another shape than the rest implies.
    """
    config = _read_config(state)
    layout = StyleLayout.from_channels(config.channels)
    ours: dict[str, Tensor] = {
        "w_avg": torch.zeros(config.w_dim) if latent_avg is None else latent_avg.float().reshape(-1),
        "const": _take(state, "input.input")[0],
    }
    for index in range(config.mapping_layers):
        for part in ("weight", "bias"):
            ours[f"mapping.layers.{index}.{part}"] = _take(state, f"style.{index + 1}.{part}")
    noiseless = not any(name.startswith("noises.") for name in state)
    convs = rgbs = 0
    for layer in layout.layers:
        name = f"synthesis.{layer.name}"
        if layer.kind == "torgb":
            theirs = "to_rgb1" if rgbs == 0 else f"to_rgbs.{rgbs - 1}"
            rgbs += 1
            ours[f"{name}.bias"] = _take(state, f"{theirs}.bias").reshape(3)
        else:
            theirs = "conv1" if convs == 0 else f"convs.{convs - 1}"
            ours[f"{name}.bias"] = _take(state, f"{theirs}.activate.bias")
            ours[f"{name}.noise_strength"] = _take(state, f"{theirs}.noise.weight").reshape(())
            ours[f"{name}.noise_const"] = (
                torch.zeros(layer.resolution, layer.resolution)
                if noiseless
                else _take(state, f"noises.noise_{convs}")[0, 0]
            )
            convs += 1
        ours[f"{name}.weight"] = _take(state, f"{theirs}.conv.weight")[0]
        for part in ("weight", "bias"):
            ours[f"{name}.affine.{part}"] = _take(state, f"{theirs}.conv.modulation.{part}")
    generator = load_checked(lambda: Generator(config), ours)
    if latent_avg is None:
        generator.w_avg.copy_(_mean_latent(generator))
        generator.notes[f"mean of {MEAN_SAMPLES} z, seed {MEAN_SEED}"] = (
            f"the generator's file has no latent_avg: the mean of {MEAN_SAMPLES:,} mapped z takes its place"
        )
    if noiseless:
        generator.notes["no constant noise"] = (
            "the generator's file has no constant noise (noises.*): pictures are made without"
        )
    return generator


@torch.no_grad()
def _mean_latent(generator: Generator) -> Tensor:
    z = torch.randn(MEAN_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(MEAN_SEED))
    return generator.mapping(z, None).mean(dim=0)


def load_rosinality_file(path: str | Path) -> Generator:
    """The generator `g_ema` of a `.pt` file, with `latent_avg` where it is there; frozen, on the CPU.

    Raises CheckpointError for a file without one, and for another low-pass filter than [1, 3, 3, 1].
    """
    path = Path(path)
    content = load_torch_file(path)
    state, mean = content.get("g_ema", content), content.get("latent_avg")
    with reading(path, "generator"):
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError("holds no generator under 'g_ema'")
        _check_filters(state)
        if any(name.startswith(("mapping.fc", "synthesis.b")) for name in state):
            raise CheckpointError(
                "holds parameters under NVlabs' names without what tells how they are used (multipliers, clamping): "
                "take the pickle that they came from"
            )
        return from_rosinality_state(state, mean if isinstance(mean, Tensor) else None)


def _check_filters(state: Mapping[str, Tensor]) -> None:
    """Blurs are stored with the gain of the upsampling, 4, where there is one."""
    expected = binomial_filter()
    for name, tensor in state.items():
        if re.search(r"(blur|upsample)\.kernel$", name):
            same = tensor.shape == expected.shape and any(
                torch.allclose(tensor.float(), expected * gain, atol=1e-5) for gain in (1, 4)
            )
            if not same:
                raise CheckpointError(f"'{name}' is not the filter [1, 3, 3, 1]: not supported")
