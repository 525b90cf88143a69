"""Latent mappers: small networks that turn a latent code into the step that an attribute asks for (paper §5).

K mappers of one shape are one network whose weights carry a leading K: trained together they are one matrix product
instead of K, and none of them feels the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from styleclip.errors import EditError
from styleclip.networks.generator import Generator
from styleclip.networks.layers import scaled_leaky_relu

MapperSpace = Literal["levels", "single", "s"]
LEVELS = ("coarse", "medium", "fine")
BOUNDS = {"coarse": (0, 4), "medium": (4, 8), "fine": (8, None)}
DEPTH, LR_MULTIPLIER, STEP_SCALE = 4, 0.01, 0.1
"""Four layers; ŵ = w + 0.1·M(w), as in the published code."""


@dataclass(frozen=True)
class MapperConfig:
    """The shape of a mapper.

    space "levels": W+ with a network per level, `levels` of LEVELS, rows 0–3, 4–7 and 8 on; "single": W+ with one
    network for all rows; "s": the style channels of the convolutions, with a network per layer of `widths`.
    """

    space: MapperSpace
    w_dim: int = 0
    levels: tuple[str, ...] = LEVELS
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.space not in ("levels", "single", "s"):
            raise ValueError(f"a mapper's space is levels, single or s, not '{self.space}'")
        if self.space == "levels" and (not self.levels or set(self.levels) - set(LEVELS)):
            raise ValueError(f"a mapper's levels are some of {', '.join(LEVELS)}, not {list(self.levels)}")
        if (self.space == "s") != bool(self.widths) or (self.space != "s") != bool(self.w_dim):
            raise ValueError("a mapper in S needs the widths of its layers, one in W+ the width of w")

    @property
    def networks(self) -> dict[str, int]:
        """Name → width of the networks inside."""
        if self.space == "levels":
            return {level: self.w_dim for level in LEVELS if level in self.levels}
        if self.space == "single":
            return {"all": self.w_dim}
        return {f"layer_{number}": width for number, width in enumerate(self.widths)}

    @classmethod
    def for_generator(
        cls, generator: Generator, space: MapperSpace, levels: Sequence[str] = LEVELS
    ) -> MapperConfig:
        """The shape that fits a generator. Raises EditError for levels that it has no rows for."""
        if space == "s":
            return cls("s", widths=tuple(layer.channels for layer in generator.layout.conv_layers))
        if space == "single":
            return cls("single", generator.w_dim)
        if missing := [level for level in levels if generator.num_ws <= BOUNDS[level][0]]:
            raise EditError(f"the generator has no {missing[0]} level: W+ has {generator.num_ws} rows")
        return cls("levels", generator.w_dim, tuple(levels))

    def fits(self, generator: Generator) -> bool:
        """Whether a mapper of this shape can move codes of `generator`."""
        try:
            return self == self.for_generator(generator, self.space, self.levels)
        except EditError:
            return False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MapperConfig:
        """Inverse of `to_dict`."""
        return cls(**values)


class StackedLinear(nn.Module):
    """K linear layers with equalized learning rate and leaky ReLU: x [K, B, D] → [K, B, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width, width) / LR_MULTIPLIER)
        self.bias = nn.Parameter(torch.zeros(count, width))
        self.gain = LR_MULTIPLIER / math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gain, self.bias * LR_MULTIPLIER
        return scaled_leaky_relu(torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2)))


class _Network(nn.Module):
    """PixelNorm and four layers, K times: x [B, n, D] or [B, D] → [K, B, n, D] or [K, B, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.layers = nn.ModuleList(StackedLinear(count, width) for _ in range(DEPTH))

    def forward(self, x: Tensor) -> Tensor:
        # Over dimension 1, which of codes in W+ is the axis of layers: so the published mappers were trained.
        x = x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        y = x.reshape(1, -1, x.shape[-1]).expand(self.count, -1, -1)
        for layer in self.layers:
            y = layer(y)
        return y.reshape(self.count, *x.shape)


class LatentMapper(nn.Module):
    """`count` mappers of one shape.

    forward: codes w [B, num_ws, w_dim] (or style vectors of the convolutions [B, ΣC] in S) → raw outputs M(w)
    [count, B, …] of the same shape, zero where no network is responsible. The edit is w + 0.1·M(w): see `steps`.
    """

    def __init__(self, config: MapperConfig, count: int = 1) -> None:
        super().__init__()
        self.config, self.count = config, count
        self.networks = nn.ModuleDict(
            {name: _Network(count, width) for name, width in config.networks.items()}
        )

    def forward(self, code: Tensor) -> Tensor:
        config = self.config
        if config.space == "s":
            assert code.ndim == 2 and code.shape[1] == sum(config.widths), (code.shape, config.widths)
            parts = code.split(list(config.widths), dim=1)
            outputs = [network(part) for network, part in zip(self.networks.values(), parts, strict=True)]
            return torch.cat(outputs, dim=-1)
        assert code.shape[-1] == config.w_dim, (code.shape, config.w_dim)
        if config.space == "single":
            return self.networks["all"](code)
        assert code.ndim == 3, f"levels are rows of W+: [B, num_ws, w_dim], got {tuple(code.shape)}"
        outputs = []
        for level, (first, last) in BOUNDS.items():
            rows = code[:, first:last]
            if level in self.networks and rows.shape[1]:
                outputs.append(self.networks[level](rows))
            else:
                outputs.append(rows.new_zeros(self.count, *rows.shape))
        return torch.cat(outputs, dim=2)

    def steps(self, code: Tensor) -> Tensor:
        """The manipulation steps 0.1·M(w) [count, B, …]."""
        return STEP_SCALE * self(code)

    def one(self, index: int) -> LatentMapper:
        """Mapper number `index` alone: the same outputs, weights of its own."""
        alone = LatentMapper(self.config).to(next(self.parameters()).device)
        alone.load_state_dict({name: value[index : index + 1] for name, value in self.state_dict().items()})
        return alone

    def load_one(self, index: int, state: Mapping[str, Tensor]) -> None:
        """Put the weights of one mapper, a state of `one`, at place `index`."""
        with torch.no_grad():
            for name, value in self.state_dict().items():
                value[index] = state[name][0]


def stack(mappers: Sequence[LatentMapper]) -> LatentMapper:
    """Mappers of one shape as one network. Raises ValueError for different shapes."""
    if len({mapper.config for mapper in mappers}) != 1:
        raise ValueError("only mappers of one shape can stand in one network")
    together = LatentMapper(mappers[0].config, len(mappers))
    for index, mapper in enumerate(mappers):
        together.load_one(index, mapper.state_dict())
    return together
