"""Trained mappers in files: our own format, and the published one (a state dict with `mapper.` names and `opts`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from styleclip.checkpoints.foreign_files import reading
from styleclip.checkpoints.native import load_native, save_native
from styleclip.checkpoints.strict import load_checked
from styleclip.errors import CheckpointError
from styleclip.networks.mapper import LatentMapper, MapperConfig

KIND = "mapper"
LEVEL_NAMES = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
"""Ours → the published attribute, one of which is spelled so."""


@dataclass(frozen=True)
class MapperCard:
    """What a mapper file says of itself; empty where a published file does not say it.

    generator: sha256 of the generator's weights that it was trained for; seconds: what its training took (that of
    all attributes trained together, divided by their number).
    """

    attribute: str
    target: str = ""
    neutral: str = ""
    generator: str = ""
    clip: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


def save_mapper(path: str | Path, mapper: LatentMapper, card: MapperCard) -> None:
    """Write one mapper and its card as safetensors. Weights stay float32: they are small, and training goes on."""
    assert mapper.count == 1, "a file holds one mapper"
    config = {"shape": mapper.config.to_dict(), "card": asdict(card)}
    save_native(path, KIND, config, mapper.state_dict(), dtype=torch.float32)


def load_mapper(path: str | Path) -> tuple[LatentMapper, MapperCard]:
    """Read a mapper from our own safetensors, or from a published `.pt`; frozen, on the CPU.

    Raises CheckpointError for anything else.
    """
    path = Path(path)
    if path.suffix in (".pt", ".pth"):
        return _load_published(path)
    kind, config, state = load_native(path)
    if kind != KIND:
        raise CheckpointError(f"{path}: holds a network of kind '{kind}', not a mapper")
    try:
        shape = TypeAdapter(MapperConfig).validate_python(config["shape"])
        card = TypeAdapter(MapperCard).validate_python(config["card"])
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: its configuration makes no mapper ({reason})") from error
    with reading(path, "mapper"):
        return load_checked(lambda: LatentMapper(shape), state), card


def _load_published(path: Path) -> tuple[LatentMapper, MapperCard]:
    from styleclip.checkpoints.torch_files import load_torch_file

    content = load_torch_file(path)
    state, options = content.get("state_dict"), content.get("opts") or {}
    if not isinstance(state, Mapping) or not isinstance(options, Mapping):
        raise CheckpointError(f"{path}: not a published mapper: it has no 'state_dict' with tensors")
    try:
        mapper = from_published_state(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    words = str(options.get("description") or "")
    return mapper, MapperCard(attribute=path.stem, target=words, settings={"published": True})


def from_published_state(state: Mapping[str, Tensor]) -> LatentMapper:
    """Build our mapper from the parameter names of the published code; names may start with `mapper.`.

    Levels that are not there stay unused. Raises CheckpointError for other names.
    """
    inside = {
        name.removeprefix("mapper."): value for name, value in state.items() if name.startswith("mapper.")
    }
    # A whole published checkpoint also carries the decoder; a bare mapper has no prefix. "mapper.mapping…" never is
    # one: the published networks are called NAME.mapping.LAYER.
    state = inside or {name: value for name, value in state.items() if not name.startswith("decoder.")}
    prefixes, config = _read_config(state)
    ours: dict[str, Tensor] = {}
    taken = set()
    for name, prefix in prefixes.items():
        for layer in range(4):
            for part in ("weight", "bias"):
                theirs = f"{prefix}.mapping.{layer + 1}.{part}"
                if theirs not in state:
                    raise CheckpointError(f"the mapper lacks the parameter '{theirs}'")
                ours[f"networks.{name}.layers.{layer}.{part}"] = state[theirs].float().unsqueeze(0)
                taken.add(theirs)
    if unknown := sorted(set(state) - taken):
        raise CheckpointError(f"the mapper has a parameter '{unknown[0]}' that no published mapper has")
    return load_checked(lambda: LatentMapper(config), ours)


def _read_config(state: Mapping[str, Tensor]) -> tuple[dict[str, str], MapperConfig]:
    """(our network → their prefix, the shape)."""

    def width(prefix: str) -> int:
        weight = state.get(f"{prefix}.mapping.1.weight")
        if weight is None or weight.ndim != 2:
            raise CheckpointError(f"the mapper lacks the matrix '{prefix}.mapping.1.weight'")
        return weight.shape[0]

    levels = {
        ours: theirs for ours, theirs in LEVEL_NAMES.items() if any(n.startswith(theirs) for n in state)
    }
    if levels:
        return levels, MapperConfig("levels", width(next(iter(levels.values()))), tuple(levels))
    if any(name.startswith("mapping.mapping.") for name in state):
        return {"all": "mapping"}, MapperConfig("single", width("mapping"))
    numbers = sorted({int(match[1]) for name in state if (match := re.match(r"mapper_(\d+)\.", name))})
    if not numbers:
        raise CheckpointError("not a published mapper: no course_mapping, mapping or mapper_0 inside")
    if any(number % 3 == 1 for number in numbers):  # every third layer from the second on is a ToRGB
        raise CheckpointError(
            "a mapper of all style channels (FullStyleSpaceMapper), those of ToRGB as well, which are not edited here: "
            "only those that leave them out can be used"
        )
    prefixes = {f"layer_{index}": f"mapper_{number}" for index, number in enumerate(numbers)}
    return prefixes, MapperConfig("s", widths=tuple(width(prefix) for prefix in prefixes.values()))
