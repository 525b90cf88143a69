"""Pictures as numbers: floats in [−1, 1] for networks, 8-bit values for files; the layout stays as it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """float [..] about [−1, 1] → uint8 of the same shape, rounded and clamped, on the same device."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 [..] → float32 in [−1, 1] of the same shape, on the same device."""
    assert pixels.dtype == torch.uint8, f"pixels are uint8, not {pixels.dtype}"
    return pixels.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """float [n, 3, H, W] about [−1, 1] → uint8 [n, H, W, 3] as files have it, still on the device."""
    assert images.ndim == 4 and images.shape[1] == 3, f"[n, 3, H, W] is wanted, not {list(images.shape)}"
    return to_uint8(images).permute(0, 2, 3, 1).contiguous()


def from_bytes(pictures: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [n, H, W, 3] as files have it → float32 [n, 3, H, W] in [−1, 1] on the device."""
    assert pictures.ndim == 4 and pictures.shape[3] == 3, (
        f"[n, H, W, 3] is wanted, not {list(pictures.shape)}"
    )
    return to_float(torch.as_tensor(pictures).to(device).permute(0, 3, 1, 2))
