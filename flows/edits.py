"""Edits as people write them, and the grid they unfold into."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from styleclip.errors import EditError

DEFAULT_ALPHA = 4.0
DEFAULT_CHANNELS = 20


class EditSpec(BaseModel):
    """One edit in words; lists of strengths make a grid of edits."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(
        description='What the image shall show, for example "a face with red hair".', min_length=1
    )
    neutral: str | None = Field(
        default=None,
        description='What it shows now, for example "a face"; empty: the neutral words of the bundle.',
    )
    name: str | None = Field(
        default=None,
        description="Name of the edit and of its folder; empty: made from the words that target adds to neutral.",
    )
    method: Literal["global", "global-weighted"] = Field(
        default="global",
        description="global: the directions of the paper; global-weighted: channels weighted by how much they move.",
    )
    alpha: float | list[float] = Field(
        default=DEFAULT_ALPHA,
        description="Strength, in standard deviations of the strongest channel; negative turns the edit around.",
    )
    beta: float | list[float] | None = Field(
        default=None, description="Channels whose |Δi·Δt| is below this stay as they are (0 … 1)."
    )
    channels: int | list[int] | None = Field(
        default=None,
        description=f"Instead of beta: how many channels may move. Neither given: {DEFAULT_CHANNELS}.",
    )

    @field_validator("alpha", "beta", "channels")
    @classmethod
    def _lists_are_not_empty(cls, value: Any) -> Any:
        if isinstance(value, list) and not value:
            raise ValueError("an empty list of strengths leaves no edit")
        return value

    @model_validator(mode="after")
    def _one_way_to_choose_channels(self) -> EditSpec:
        if self.beta is not None and self.channels is not None:
            raise ValueError("give beta or channels, not both: each of them chooses the channels")
        if any(beta < 0 or beta > 1 for beta in _listed(self.beta)):
            raise ValueError("beta is a threshold on |Δi·Δt| and lies between 0 and 1")
        if any(count < 1 for count in _listed(self.channels)):
            raise ValueError("channels must be at least 1")
        return self


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def slug(text: str) -> str:
    """A name that every file system takes: letters, digits, - _ . only, at most 80 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-.")[:80]


def _name_from_words(target: str, neutral: str) -> str:
    words, known = (
        target.split(),
        {word.lower().strip(",.") for word in neutral.split()} | {"with", "a", "an", "the"},
    )
    added = [word for word in words if word.lower().strip(",.") not in known]
    return slug(" ".join(added or words)) or "edit"


def expand(specs: Iterable[EditSpec], neutral: str) -> list[dict[str, Any]]:
    """Unfold grids: one plain dictionary {name, method, neutral, target, alpha, beta, channels} per edit.

    `neutral` stands in where a spec names none. A grid's edits are called NAME_a3_b0.1 or NAME_a3_c40.
    Raises EditError when there is no edit or two edits have one name.
    """
    edits: list[dict[str, Any]] = []
    for spec in specs:
        start = spec.neutral or neutral
        name = slug(spec.name) if spec.name else _name_from_words(spec.target, start)
        if not name:
            raise EditError(f"edit name '{spec.name}' has no letter or digit to make a folder name from")
        betas = _listed(spec.beta) or [None]
        counts = _listed(spec.channels) or [DEFAULT_CHANNELS if spec.beta is None else None]
        grid = list(itertools.product(_listed(spec.alpha), betas, counts))
        for alpha, beta, count in grid:
            chosen_by = f"b{beta:g}" if beta is not None else f"c{count}"
            edits.append(
                {
                    "name": f"{name}_a{alpha:g}_{chosen_by}" if len(grid) > 1 else name,
                    "method": spec.method,
                    "neutral": start,
                    "target": spec.target,
                    "alpha": float(alpha),
                    "beta": None if beta is None else float(beta),
                    "channels": count,
                }
            )
    if not edits:
        raise EditError('no edit is given: use --target "a face with red hair" or an edits file')
    names = [edit["name"] for edit in edits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EditError(f"two edits are called '{twice[0]}': give each its own name")
    return edits


def read_edits(path: str | Path) -> list[EditSpec]:
    """Read edits from YAML, TOML or JSON: a list, or a mapping with `edits` and, if wanted, `defaults` for all.

    Raises EditError with the file, the edit and the field that is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EditError(f"edits file {path} cannot be read: {error}") from error
    try:
        if path.suffix == ".toml":
            content = tomllib.loads(text)
        else:
            content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise EditError(f"edits file {path}: {' '.join(str(error).split())}") from error
    if isinstance(content, list):
        content = {"edits": content}
    if not isinstance(content, dict) or not isinstance(content.get("edits"), list):
        raise EditError(f"edits file {path}: expected a list of edits, or a mapping with the key 'edits'")
    if unknown := sorted(set(content) - {"edits", "defaults"}):
        raise EditError(f"edits file {path}: unknown key '{unknown[0]}' (known: edits, defaults)")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise EditError(f"edits file {path}: 'defaults' must be a mapping such as {{alpha: 3}}")
    specs = []
    for number, entry in enumerate(content["edits"], 1):
        if not isinstance(entry, dict):
            raise EditError(
                f"edits file {path}, edit {number}: expected a mapping such as {{target: a smiling face}}"
            )
        try:
            specs.append(EditSpec(**(defaults | entry)))
        except (ValidationError, TypeError) as error:
            raise EditError(f"edits file {path}, edit {number}: {first_complaint(error)}") from error
    return specs


def first_complaint(error: ValidationError | TypeError) -> str:
    """The first thing that a pydantic error complains about, in one line."""
    if isinstance(error, TypeError):
        return str(error)
    complaint = error.errors()[0]
    where = ".".join(str(part) for part in complaint["loc"] if part not in ("float", "int", "list[float]"))
    text = complaint["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
