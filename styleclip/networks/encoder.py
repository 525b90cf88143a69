"""Image → W+: the inverse of the generator, in one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.networks.convnet import conv_trunk


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder; `image_size` is the side that pictures are resized to before they are read."""

    image_size: int
    num_ws: int
    w_dim: int
    widths: Sequence[int]
    strides: Sequence[int]
    hidden: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Encoder(nn.Module):
    """Predicts a latent shared by all rows plus a small offset per row of W+.

    Both are relative to the mean latent and in units of each coordinate's spread (`w_avg`, `w_std` [w_dim]): latents
    may be of any size, what a layer has to predict is of size 1.

    The split follows the design of e4e (Tov et al. 2021, arXiv 2102.02766, section 4.2): codes near W edit better.
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.trunk, reduction = conv_trunk(config.widths, config.strides)
        side = config.image_size // reduction
        self.hidden = nn.Linear(config.widths[-1] * side * side, config.hidden)
        self.shared = nn.Linear(config.hidden, config.w_dim)
        self.offsets = nn.Linear(config.hidden, config.num_ws * config.w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.register_buffer("w_std", torch.ones(config.w_dim))

    def forward(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] in [−1, 1] → w [N, num_ws, w_dim], float32."""
        assert image.ndim == 4 and image.shape[1] == 3, (
            f"image must be [N, 3, H, W], got {tuple(image.shape)}"
        )
        size = self.config.image_size
        if image.shape[-2:] != (size, size):
            image = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
        x = F.relu(self.hidden(self.trunk(image).flatten(1)))
        offsets = self.offsets(x).view(-1, self.config.num_ws, self.config.w_dim)
        steps = self.shared(x).float().unsqueeze(1) + offsets.float()
        return self.w_avg + self.w_std * steps


def build_encoder(config: Mapping[str, Any]) -> Encoder:
    """The encoder that a checkpoint's configuration describes, with fresh weights."""
    return Encoder(EncoderConfig(**config))
