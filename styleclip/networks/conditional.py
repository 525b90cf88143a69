"""A class-conditional generator, held at one class, is an unconditional one."""

from __future__ import annotations

import dataclasses
import math

import torch

from styleclip.networks.generator import Generator
from styleclip.networks.layers import EqualLinear, normalize_second_moment


@torch.no_grad()
def of_class(generator: Generator, number: int) -> Generator:
    """The generator of class `number` (from 0): map(z) is `generator.map(z, c)` with c one-hot, and so is all the rest.

    Only the first layer of the mapping network reads the class, beside z. What it makes of the class is one vector,
    which becomes part of that layer's bias; so nothing else has to know that there ever were classes. The mean latent
    stays that of all classes, as the published code truncates (Karras et al. 2020, arXiv 2006.06676).
    """
    config = generator.config
    assert 0 <= number < config.c_dim, f"class must be 0 … {config.c_dim - 1}, got {number}"
    embed, first = generator.mapping.embed, generator.mapping.layers[0]
    assert embed is not None and isinstance(first, EqualLinear)
    made = Generator(dataclasses.replace(config, c_dim=0))
    state = {
        name: value for name, value in generator.state_dict().items() if not name.startswith("mapping.embed.")
    }
    c = torch.zeros(1, config.c_dim, device=embed.weight.device)
    c[0, number] = 1
    of_z, of_c = first.weight.split([config.z_dim, config.w_dim], dim=1)
    share = (normalize_second_moment(embed(c)) @ of_c.T)[0] * first.weight_gain
    state["mapping.layers.0.bias"] = first.bias + share / first.lr_multiplier
    # the gain counts a layer's inputs, of which there are fewer now
    state["mapping.layers.0.weight"] = of_z * math.sqrt(config.z_dim / (config.z_dim + config.w_dim))
    made.load_state_dict(state)
    return made.eval().requires_grad_(False)
