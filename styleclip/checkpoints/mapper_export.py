"""Mappers out to the checkpoints of StyleCLIP's published code, with the decoder that it wants beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from styleclip.checkpoints.mappers import LEVEL_NAMES, MapperCard
from styleclip.checkpoints.rosinality_export import to_rosinality_state
from styleclip.checkpoints.torch_writing import save_torch_file
from styleclip.networks.generator import Generator
from styleclip.networks.mapper import LatentMapper, MapperConfig

MAPPER_TYPES = {
    "levels": "LevelsMapper",
    "single": "SingleMapper",
    "s": "WithoutToRGBStyleSpaceMapper",
}
"""Our space → the published class."""


def to_published_state(mapper: LatentMapper) -> dict[str, Tensor]:
    """The parameters of one mapper under their published names (without `mapper.`), float32, on the CPU."""
    assert mapper.count == 1, "a file holds one mapper"
    prefixes = dict(zip(mapper.config.networks, _prefixes(mapper.config), strict=True))
    state = {}
    for name, value in mapper.state_dict().items():
        _, network, _, layer, part = name.split(".")
        state[f"{prefixes[network]}.mapping.{int(layer) + 1}.{part}"] = (
            value[0].detach().float().cpu().clone()
        )
    return state


def _prefixes(config: MapperConfig) -> list[str]:
    if config.space == "levels":
        return [LEVEL_NAMES[level] for level in config.networks]
    if config.space == "single":
        return ["mapping"]
    # style layers are counted with ToRGB: every third one from the second on, and without a network here
    return [f"mapper_{(3 * number + 1) // 2}" for number in range(len(config.widths))]


def save_published_mapper(
    path: str | Path, mapper: LatentMapper, card: MapperCard, generator: Generator | None = None
) -> None:
    """Write a mapper as a `.pt` checkpoint: `state_dict` with `mapper.…`, and `opts`, which say how to build it.

    The published code's own loader also wants `decoder.…`, the generator that the mapper was trained for: it is in the
    file when `generator` is given. Raises CheckpointError when the file is there already or cannot be written.
    """
    config = mapper.config
    state = {f"mapper.{name}": value for name, value in to_published_state(mapper).items()}
    options: dict[str, Any] = {
        "description": card.target,
        "mapper_type": MAPPER_TYPES[config.space],
        "work_in_stylespace": config.space == "s",
    }
    for level in LEVEL_NAMES:
        options[f"no_{level}_mapper"] = config.space == "levels" and level not in config.levels
    if generator is not None:
        state |= {f"decoder.{name}": value for name, value in to_rosinality_state(generator).items()}
        options["stylegan_size"] = generator.resolution
    save_torch_file(path, {"state_dict": state, "opts": options})
