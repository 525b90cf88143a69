"""The e4e encoder (Tov et al. 2021, arXiv 2102.02766): one code for all layers, and a small offset for each.

A feature pyramid (Richardson et al. 2021, pSp, arXiv 2008.00951) over the body of IR-SE50. pSp's own encoder has the
same parameters and another meaning of them: each row is a code of its own. The names of the parameters are the
published ones; the number of latent codes and all widths are read from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.errors import CheckpointError
from styleclip.networks.irse50 import ResidualUnit, Unit, input_layer, read_units
from styleclip.networks.layers import EqualLinear

INPUT = 256
COARSE, MIDDLE = 3, 7
"""From these rows of W+ on the pyramid's middle and its finest level are read."""
LEAK = 0.01


class StyleHead(nn.Module):
    """Features [N, C, H, W] → one code [N, D]: convolutions that halve until one pixel is left, then a linear layer."""

    def __init__(self, inputs: int, outputs: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(halvings):
            layers += [nn.Conv2d(outputs if number else inputs, outputs, 3, 2, 1), nn.LeakyReLU(LEAK)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(x)
        assert x.shape[-2:] == (1, 1), f"the head leaves {tuple(x.shape[-2:])}, not one pixel"
        return self.linear(x.flatten(1))


class E4e(nn.Module):
    """image [N, 3, H, W] in [−1, 1], aligned → w [N, num_ws, w_dim], float32.

    With `sums`, as in e4e, the code of row 0 serves all rows and every other row adds its own offset; without, as in
    pSp, each row is a code of its own. `latent_avg` (a buffer of one row or of all) is added where the encoder was
    trained to start from it.
    """

    latent_avg: Tensor

    def __init__(
        self, units: list[Unit], halvings: list[int], w_dim: int, average_rows: int, sums: bool
    ) -> None:
        super().__init__()
        widths = [unit.outputs for unit in units]
        self.num_ws, self.w_dim, self.sums = len(halvings), w_dim, sums
        strides = [number for number, unit in enumerate(units) if unit.stride == 2]
        # the last unit of each size but the first: finest, middle and coarsest level of the pyramid
        self.levels = strides[2] - 1, strides[3] - 1, len(units) - 1
        fine, middle, coarse = (widths[level] for level in self.levels)
        self.input_layer = input_layer(units[0].inputs)
        self.body = nn.Sequential(*(ResidualUnit(unit) for unit in units))
        self.styles = nn.ModuleList(StyleHead(coarse, w_dim, count) for count in halvings)
        self.latlayer1 = nn.Conv2d(middle, coarse, 1)
        self.latlayer2 = nn.Conv2d(fine, coarse, 1)
        self.register_buffer("latent_avg", torch.zeros(average_rows, w_dim))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], average_rows: int, sums: bool = True) -> E4e:
        """The encoder that a state dict (without `encoder.`) describes. Raises CheckpointError for another kind."""
        units = read_units(state)
        if sum(unit.stride == 2 for unit in units) != 4:
            raise CheckpointError("not an e4e or pSp encoder: its body does not halve the picture four times")
        rows = sorted({int(match[1]) for name in state if (match := re.match(r"styles\.(\d+)\.", name))})
        if not rows or rows != list(range(len(rows))):
            raise CheckpointError("not an e4e or pSp encoder: no heads styles.0, styles.1, …")
        halvings = [
            sum(1 for name in state if re.fullmatch(rf"styles\.{row}\.convs\.\d+\.weight", name))
            for row in rows
        ]
        linear = state.get("styles.0.linear.weight")
        if linear is None or linear.ndim != 2:
            raise CheckpointError("the checkpoint lacks the parameter 'styles.0.linear.weight'")
        return cls(units, halvings, linear.shape[0], average_rows, sums)

    def forward(self, image: Tensor) -> Tensor:
        assert image.ndim == 4 and image.shape[1] == 3, (
            f"image must be [N, 3, H, W], got {tuple(image.shape)}"
        )
        features = self._pyramid(_resize(image))
        shared = self.styles[0](features[0])
        rows = [shared]
        for row in range(1, self.num_ws):
            level = 0 if row < COARSE else 1 if row < MIDDLE else 2
            code = self.styles[row](features[level])
            rows.append(shared + code if self.sums else code)
        return torch.stack(rows, dim=1) + self.latent_avg

    def _pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coarsest, middle and finest features, each with the coarser ones in it."""
        x = self.input_layer(x)
        found = []
        for number, unit in enumerate(self.body):
            x = unit(x)
            if number in self.levels:
                found.append(x)
        fine, middle, coarse = found
        middle = _add_enlarged(coarse, self.latlayer1(middle))
        return coarse, middle, _add_enlarged(middle, self.latlayer2(fine))


def _add_enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=True) + fine


def _resize(image: Tensor) -> Tensor:
    """To the 256² that the encoder was trained on: larger pictures are pooled, as published."""
    if min(image.shape[-2:]) >= INPUT:
        return image if image.shape[-2:] == (INPUT, INPUT) else F.adaptive_avg_pool2d(image, INPUT)
    return F.interpolate(image, (INPUT, INPUT), mode="bilinear", align_corners=False)
