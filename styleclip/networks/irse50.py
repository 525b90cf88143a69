"""ArcFace IR-SE50 (Deng et al. 2019, arXiv 1801.07698; squeeze and excitation: Hu et al. 2018, arXiv 1709.01507).

The names of the parameters are the published ones, so that the published file loads as it is. Widths and the number
of units are read from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.errors import CheckpointError

INPUT, FACE = 256, 112
CROP = (slice(35, 223), slice(32, 220))
"""Rows and columns of an aligned 256² picture that the published identity loss looks at."""


@dataclass(frozen=True)
class Unit:
    """One residual unit: channels in and out, stride, and the width inside its squeeze and excitation."""

    inputs: int
    outputs: int
    stride: int
    squeeze: int


class SqueezeExcite(nn.Module):
    """Weighs channels by what all of the picture holds of them."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1, bias=False)
        self.fc2 = nn.Conv2d(squeeze, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))
        return x * weight


class ResidualUnit(nn.Module):
    """Batch norm, convolution, PReLU, convolution, batch norm, squeeze and excitation; plus the shortcut."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.stride = unit.stride
        self.shortcut_layer = (
            None
            if unit.inputs == unit.outputs
            else nn.Sequential(
                nn.Conv2d(unit.inputs, unit.outputs, 1, unit.stride, bias=False), nn.BatchNorm2d(unit.outputs)
            )
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(unit.inputs),
            nn.Conv2d(unit.inputs, unit.outputs, 3, 1, 1, bias=False),
            nn.PReLU(unit.outputs),
            nn.Conv2d(unit.outputs, unit.outputs, 3, unit.stride, 1, bias=False),
            nn.BatchNorm2d(unit.outputs),
            SqueezeExcite(unit.outputs, unit.squeeze),
        )

    def forward(self, x: Tensor) -> Tensor:
        # without a convolution the shortcut takes every stride-th value
        short = (
            x[:, :, :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        )
        return short + self.res_layer(x)


def read_units(state: Mapping[str, Tensor]) -> list[Unit]:
    """The residual units that a state dict describes: the first of each width halves the picture.

    Raises CheckpointError when they are not there or do not follow each other.
    """
    numbers = sorted({int(match[1]) for name in state if (match := re.match(r"body\.(\d+)\.", name))})
    if not numbers or numbers != list(range(len(numbers))) or "input_layer.0.weight" not in state:
        raise CheckpointError("not an IR-SE network: no input_layer.0.weight, or no units body.0, body.1, …")
    units: list[Unit] = []
    for number in numbers:
        names = f"body.{number}.res_layer.1.weight", f"body.{number}.res_layer.5.fc1.weight"
        for name in names:
            if name not in state or state[name].ndim != 4:
                raise CheckpointError(f"the checkpoint lacks the parameter '{name}'")
        outputs, inputs = state[names[0]].shape[:2]
        # the very first unit halves without changing the width
        stride = 2 if number == 0 or inputs != outputs else 1
        units.append(Unit(inputs, outputs, stride, state[names[1]].shape[0]))
    return units


def input_layer(channels: int) -> nn.Sequential:
    """RGB to the first features, at full size."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.PReLU(channels)
    )


class IRSE50(nn.Module):
    """image [N, 3, H, W] in [−1, 1] → unit embedding [N, E], float32; cosine near 1 means the same person.

    The picture is pooled to 256² unless it is that already, cropped to the face and pooled to 112², as the published
    identity loss does; it must be aligned as FFHQ is.
    """

    def __init__(self, units: list[Unit], dim: int) -> None:
        super().__init__()
        last = units[-1].outputs
        reduction = 1
        for unit in units:
            reduction *= unit.stride
        self.input_layer = input_layer(units[0].inputs)
        self.body = nn.Sequential(*(ResidualUnit(unit) for unit in units))
        side = FACE // reduction
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(last * side * side, dim),
            nn.BatchNorm1d(dim),
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> IRSE50:
        """The network that a state dict describes, with fresh weights. Raises CheckpointError for another kind."""
        units, head = read_units(state), state.get("output_layer.3.weight")
        if head is None or head.ndim != 2:
            raise CheckpointError("the checkpoint lacks the parameter 'output_layer.3.weight'")
        return cls(units, head.shape[0])

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.output_layer(self.body(self.input_layer(crop_face(image)))), dim=1)


def crop_face(image: Tensor) -> Tensor:
    """Aligned pictures [N, 3, H, W] → what ArcFace sees of them [N, 3, 112, 112]."""
    assert image.ndim == 4 and image.shape[1] == 3, f"image must be [N, 3, H, W], got {tuple(image.shape)}"
    if image.shape[-1] != INPUT:
        image = F.adaptive_avg_pool2d(image, INPUT)
    return F.adaptive_avg_pool2d(image[:, :, CROP[0], CROP[1]], FACE)
