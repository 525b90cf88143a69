"""The small convolutional trunk that our own encoder and identity network share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def conv_trunk(widths: Sequence[int], strides: Sequence[int]) -> tuple[nn.Sequential, int]:
    """3×3 convolutions with batch normalisation and ReLU.

    Returns the module ([N, 3, H, W] → [N, widths[-1], H/f, W/f]) and the total reduction f.
    """
    assert len(widths) == len(strides), (widths, strides)
    layers: list[nn.Module] = []
    inputs, reduction = 3, 1
    for width, stride in zip(widths, strides, strict=True):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs, reduction = width, reduction * stride
    return nn.Sequential(*layers), reduction
