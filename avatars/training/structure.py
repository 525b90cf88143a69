"""Which weights of the avatars generator are held at zero, so that StyleSpace comes out disentangled.

Every factor owns a block of w (masked mapping), and every convolution style channel reads the block of one factor
(masked affine maps); the ToRGB styles are constant, so that colours too are decided by channels that edits may move.
The masks are zeros in ordinary weights: the trained network is a plain StyleGAN2 and loads as one. Two trials showed
what this buys; an unmasked generator reaches lower success with the same CLIP, so figures on avatars prove the
pipeline and promise nothing about other generators.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avatars.world.factors import NAMES, Z_DIM, causes
from styleclip.networks.generator import Generator, GeneratorConfig
from styleclip.networks.layers import EqualLinear

BLOCK = 4
W_DIM = 128
CHANNELS = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32}
CONFIG = GeneratorConfig(
    z_dim=Z_DIM, w_dim=W_DIM, channels=CHANNELS, mapping_layers=2, mapping_lr_multiplier=1.0
)


def block_of(factor: int) -> slice:
    """The units of w that belong to a factor."""
    return slice(factor * BLOCK, (factor + 1) * BLOCK)


def build_masks(generator: Generator, seed: int = 0) -> dict[str, Tensor]:
    """Parameter name → 0/1 mask of the parameter's shape."""
    first, second = (torch.zeros_like(generator.get_parameter(f"mapping.layers.{i}.weight")) for i in (0, 1))
    for factor, name in enumerate(NAMES):
        first[block_of(factor), list(causes(name))] = 1
        second[block_of(factor), block_of(factor)] = 1
    masks = {"mapping.layers.0.weight": first, "mapping.layers.1.weight": second}
    random = torch.Generator().manual_seed(seed)
    for layer in generator.layout.layers:
        mask = torch.zeros(layer.channels, W_DIM)
        if layer.kind == "conv":
            repeats = -(-layer.channels // len(NAMES))
            owners = torch.cat([torch.randperm(len(NAMES), generator=random) for _ in range(repeats)])
            for channel, factor in enumerate(owners[: layer.channels].tolist()):
                mask[channel, block_of(factor)] = 1
        masks[f"synthesis.{layer.name}.affine.weight"] = mask
    return masks


@torch.no_grad()
def apply_masks(generator: Generator, masks: dict[str, Tensor]) -> None:
    """Set the masked weights to zero."""
    for name, mask in masks.items():
        generator.get_parameter(name).mul_(mask.to(generator.const.device))


@torch.no_grad()
def build_generator(seed: int = 0) -> tuple[Generator, dict[str, Tensor]]:
    """A fresh masked generator; rows with few inputs start larger, so that styles vary as in a dense network."""
    torch.manual_seed(seed)
    generator = Generator(CONFIG)
    masks = build_masks(generator, seed)
    apply_masks(generator, masks)
    for name, mask in masks.items():
        inputs = mask.sum(dim=1, keepdim=True).clamp(min=1)
        generator.get_parameter(name).mul_((mask.shape[1] / inputs).sqrt())
    for module in generator.modules():
        if isinstance(module, EqualLinear):
            assert module.weight.isfinite().all()
    return generator, masks
