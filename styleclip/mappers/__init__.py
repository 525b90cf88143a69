"""Latent mappers (paper §5): a small network per attribute that finds the step for every latent code."""

from styleclip.mappers.networks import (
    LEVELS,
    LatentMapper,
    MapperConfig,
    MapperSpace,
    build_mapper,
    stack,
)
from styleclip.mappers.ranger import Ranger

__all__ = ["LEVELS", "LatentMapper", "MapperConfig", "MapperSpace", "Ranger", "build_mapper", "stack"]
