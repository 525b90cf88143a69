"""The building blocks of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958) in plain torch operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2.0)


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of x [N, D] to mean square 1, as the mapping network does with z."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 times √2, which keeps the variance of its input."""
    return F.leaky_relu(x, LRELU_SLOPE) * LRELU_GAIN


class EqualLinear(nn.Module):
    """Linear layer with equalized learning rate: weights are stored at unit scale and scaled when used.

    Input [N, in_features], output [N, out_features], float32.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.lr_multiplier)
        return scaled_leaky_relu(x) if self.activate else x


def binomial_filter(dtype: torch.dtype = torch.float32) -> Tensor:
    """The [1, 3, 3, 1] low-pass filter of StyleGAN2 as a 4×4 kernel of sum 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=dtype)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def blur(x: Tensor, kernel: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Filter every channel of x [N, C, H, W] with `kernel` [4, 4] after zero padding (left, right, top, bottom)."""
    channels = x.shape[1]
    left, right, top, bottom = padding
    weight = kernel.to(x.dtype).expand(channels, 1, *kernel.shape)
    if left == right == top == bottom:
        return F.conv2d(x, weight, padding=left, groups=channels)
    return F.conv2d(F.pad(x, padding), weight, groups=channels)


def upsample(image: Tensor, kernel: Tensor) -> Tensor:
    """Double the size of image [N, C, H, W]: zeros between the pixels, then the low-pass filter with gain 4."""
    channels = image.shape[1]
    # A transposed convolution inserts the zeros and filters in one pass; the filter is symmetric.
    weight = (kernel * 4).to(image.dtype).expand(channels, 1, *kernel.shape)
    return F.conv_transpose2d(image, weight, stride=2, padding=1, groups=channels)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    demodulate: bool,
    upsample_kernel: Tensor | None = None,
) -> Tensor:
    """Convolution whose input channels are scaled per sample by `styles` (arXiv 1912.04958, section 2.2).

    x [N, I, H, W], weight [O, I, k, k], styles [N, I]. With `upsample_kernel` [4, 4] the output is twice
    as large (transposed convolution, then low-pass). Scaling the activations instead of the weights keeps one
    shared kernel for the batch: no grouped convolution, and a faster backward pass.
    """
    n, in_channels = styles.shape
    assert x.shape[:2] == (n, in_channels), (x.shape, styles.shape)
    assert weight.shape[1] == in_channels, (weight.shape, styles.shape)
    x = x * styles.to(x.dtype)[:, :, None, None]
    kernel = weight.to(x.dtype)
    if upsample_kernel is not None:
        x = F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2)
        x = blur(x, upsample_kernel * 4, (1, 1, 1, 1))
    else:
        x = F.conv2d(x, kernel, padding=weight.shape[-1] // 2)
    if demodulate:
        # ‖w·s‖² per (sample, output) is a product of the squares: no per-sample weights are built.
        power = styles.square() @ weight.square().sum(dim=(2, 3)).T
        x = x * (power + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]
    return x
