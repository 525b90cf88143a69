"""Where every style channel of a StyleGAN2 generator stands in the style vector s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class StyleLayer:
    """One modulated layer and the slice of the style vector that it reads.

    `ws_row` is the row of w ∈ W+ that feeds the layer's affine map; the ToRGB of one resolution shares
    its row with the first convolution of the next.
    """

    name: str
    kind: Literal["conv", "torgb"]
    resolution: int
    channels: int
    start: int
    stop: int
    ws_row: int


@dataclass(frozen=True)
class StyleLayout:
    """All style layers in network order: conv1_4, torgb_4, conv0_8, conv1_8, torgb_8, …"""

    layers: tuple[StyleLayer, ...]

    @classmethod
    def from_channels(cls, channels: Mapping[int, int]) -> StyleLayout:
        """Build the layout from the table resolution → feature maps, for example {4: 512, 8: 512}.

        Raises ValueError when the resolutions are not 4, 8, 16, … without a gap.
        """
        resolutions = sorted(channels)
        if resolutions != [4 << i for i in range(len(resolutions))] or not resolutions:
            raise ValueError(f"resolutions must be 4, 8, 16, … without a gap, got {resolutions}")
        layers: list[StyleLayer] = []
        position = row = 0

        def add(name: str, kind: Literal["conv", "torgb"], resolution: int, width: int, ws_row: int) -> None:
            nonlocal position
            layers.append(
                StyleLayer(
                    f"{name}_{resolution}", kind, resolution, width, position, position + width, ws_row
                )
            )
            position += width

        for resolution in resolutions:
            if resolution > 4:
                add("conv0", "conv", resolution, channels[resolution // 2], row)
                row += 1
            add("conv1", "conv", resolution, channels[resolution], row)
            row += 1
            add("torgb", "torgb", resolution, channels[resolution], row)
        return cls(tuple(layers))

    @property
    def total(self) -> int:
        """Length of the style vector, ToRGB included."""
        return self.layers[-1].stop

    @property
    def num_ws(self) -> int:
        """Rows of w ∈ W+ that the network reads."""
        return self.layers[-1].ws_row + 1

    @cached_property
    def conv_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of the convolutions, in network order."""
        return tuple(layer for layer in self.layers if layer.kind == "conv")

    @cached_property
    def conv(self) -> Tensor:
        """Indices into s of the convolutions' channels: the ones that edits may move, int64 [C_conv]."""
        # Kept for good: made in inference mode, the indices could never take part in a backward pass.
        with torch.inference_mode(False):
            return torch.cat([torch.arange(layer.start, layer.stop) for layer in self.conv_layers])

    @property
    def conv_count(self) -> int:
        """Number of convolution channels (6048 for 1024² config-f)."""
        return sum(layer.channels for layer in self.conv_layers)

    @cached_property
    def layer_of(self) -> tuple[int, ...]:
        """For every convolution channel the position of its layer in `layers`."""
        return tuple(
            index
            for index, layer in enumerate(self.layers)
            if layer.kind == "conv"
            for _ in range(layer.channels)
        )

    @cached_property
    def channel_of(self) -> tuple[int, ...]:
        """For every convolution channel its number inside its layer."""
        return tuple(channel for layer in self.conv_layers for channel in range(layer.channels))
