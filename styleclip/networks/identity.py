"""Identity network: who is it, whatever they wear (Deng et al. 2019, ArcFace, arXiv 1801.07698)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.networks.convnet import conv_trunk


@dataclass(frozen=True)
class IdentityConfig:
    """Shape of an identity network; `dim` is the length of its embedding."""

    image_size: int
    widths: Sequence[int]
    strides: Sequence[int]
    dim: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class IdentityNet(nn.Module):
    """image [N, 3, H, W] in [−1, 1] → unit embedding [N, dim], float32; cosine near 1 means the same person."""

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk, reduction = conv_trunk(config.widths, config.strides)
        side = config.image_size // reduction
        self.embed = nn.Linear(config.widths[-1] * side * side, config.dim, bias=False)
        self.normalise = nn.BatchNorm1d(config.dim)

    def forward(self, image: Tensor) -> Tensor:
        assert image.ndim == 4 and image.shape[1] == 3, (
            f"image must be [N, 3, H, W], got {tuple(image.shape)}"
        )
        size = self.config.image_size
        if image.shape[-2:] != (size, size):
            image = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
        return F.normalize(self.normalise(self.embed(self.trunk(image).flatten(1))).float(), dim=1)


def build_identity(config: Mapping[str, Any]) -> IdentityNet:
    """The identity network that a checkpoint's configuration describes, with fresh weights."""
    return IdentityNet(IdentityConfig(**config))
