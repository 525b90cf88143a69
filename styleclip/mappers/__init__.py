"""Latent mappers (paper §5): a small network per attribute that finds the step for every latent code."""

from styleclip.mappers.ranger import Ranger
from styleclip.networks.mapper import (
    LEVELS,
    LatentMapper,
    MapperConfig,
    MapperSpace,
    stack,
)

__all__ = ["LEVELS", "LatentMapper", "MapperConfig", "MapperSpace", "Ranger", "stack"]
