"""CLIP's image preprocessing on the device, differentiable.

open_clip resizes with PIL: 8-bit values, columns first, then rows, each pass rounded and cut to 0 … 255. Here the same
kernels are two matrix products, A·x·Aᵀ, on floats, with the same cut after each: gradients pass, no picture leaves the
device, and nothing is rounded. Measured against `open_clip.image_transform`, in levels of 255: mean 0.26 … 0.35, and
never more than 1.2, for natural pictures and for noise, upscaled and downscaled, square or not; exactly 0 where no
resize is needed. Without the cut between the passes it would be up to 23 levels at hard edges. One exception: Pillow 13
takes the rows first when a picture is more than about twice as tall as wide (python-pillow/Pillow#9549); there, natural
pictures differ by up to 1.3 levels and noise by up to 23, as they do between Pillow 12 and 13.
`tests/styleclip/clip/test_preprocess.py` holds these figures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "squash"]

BICUBIC_A = -0.5


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = −0.5, PIL's choice; support 2."""
    x = x.abs()
    near = ((BICUBIC_A + 2) * x - (BICUBIC_A + 3)) * x * x + 1
    far = ((BICUBIC_A * x - 5 * BICUBIC_A) * x + 8 * BICUBIC_A) * x - 4 * BICUBIC_A
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _bilinear(x: Tensor) -> Tensor:
    """The triangle; support 1."""
    return (1 - x.abs()).clamp(min=0)


@lru_cache(maxsize=64)
def resize_matrix(
    size_in: int,
    size_out: int,
    interpolation: Interpolation = "bicubic",
    device: torch.device | str = "cpu",
) -> Tensor:
    """PIL's antialiased resize of one axis as weights [size_out, size_in], float32; every row sums to 1.

    When the picture shrinks the kernel is stretched by the same factor. Equal sizes give the identity.
    """
    kernel, reach = (_bicubic, 2) if interpolation == "bicubic" else (_bilinear, 1)
    # The matrix outlives this call: one made in inference mode could never take part in a backward pass.
    with torch.inference_mode(False), torch.no_grad():
        scale = size_in / size_out
        stretch = max(scale, 1.0)
        centre = (torch.arange(size_out, dtype=torch.float64) + 0.5) * scale
        pixel = torch.arange(size_in, dtype=torch.float64)
        # PIL cuts the support to whole pixels around the centre before it normalises.
        low = (centre - reach * stretch + 0.5).floor().clamp(min=0)
        high = (centre + reach * stretch + 0.5).floor().clamp(max=size_in)
        inside = (pixel[None] >= low[:, None]) & (pixel[None] < high[:, None])
        weight = torch.where(inside, kernel((pixel[None] + 0.5 - centre[:, None]) / stretch), 0.0)
        return (weight / weight.sum(dim=1, keepdim=True)).float().to(device)


def preprocess(
    image: Tensor,
    size: int,
    mean: Tensor,
    std: Tensor,
    resize_mode: ResizeMode = "shortest",
    interpolation: Interpolation = "bicubic",
) -> Tensor:
    """image [N, 3, H, W] in [−1, 1] → CLIP input [N, 3, size, size], float32.

    Values are first cut to the range that a picture file has, as are the overshoots of the kernel. "shortest" resizes
    the shorter side to `size` and cuts out the middle, "squash" resizes both sides. `mean` and `std` [3] are the
    model's own, for values in [0, 1]. No gradient passes where a value was cut.
    """
    assert image.ndim == 4 and image.shape[1] == 3, f"image must be [N, 3, H, W], got {tuple(image.shape)}"
    x = image.float().clamp(-1, 1)
    height, width = x.shape[-2:]
    tall = wide = size
    if resize_mode == "shortest":
        # The longer side is rounded down, the crop to the nearest even: torchvision's way.
        shorter = min(height, width)
        tall, wide = int(size * height / shorter), int(size * width / shorter)
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    # Rows and columns that the crop throws away are never computed.
    if wide != width or wide != size:
        columns = resize_matrix(width, wide, interpolation, x.device)[left : left + size]
        x = (x @ columns.T).clamp(-1, 1)
    if tall != height or tall != size:
        rows = resize_matrix(height, tall, interpolation, x.device)[top : top + size]
        x = (rows @ x).clamp(-1, 1)
    return ((x + 1) / 2 - mean[:, None, None]) / std[:, None, None]
