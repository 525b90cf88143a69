"""Edits as people write them, and the grid they unfold into."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.forms.edits import DEFAULT_ALPHA, DEFAULT_CHANNELS, OPTIMIZE_DEFAULTS, EditSpec, listed
from styleclip.errors import EditError

RESERVED = ("source", "reconstruction")
"""Folders of pictures that are no edits."""


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
    """Unfold grids: one plain dictionary {name, method, neutral, target, and the strengths of the method} per edit.

    `neutral` stands in where a spec names none. A grid's edits are called NAME_a3_b0.1, NAME_a3_c40, NAME_l0.008 or
    NAME_l0.008_c40.
    Raises EditError when there is no edit or two edits have one name.
    """
    edits: list[dict[str, Any]] = []
    for spec in specs:
        start = spec.neutral or neutral
        name = slug(spec.name) if spec.name else own_name(spec, start)
        if not name:
            raise EditError(f"edit name '{spec.name}' has no letter or digit to make a folder name from")
        if name in RESERVED:
            raise EditError(
                f"an edit cannot be called '{name}': the run keeps its own pictures under that name"
            )
        words = {"method": spec.method, "neutral": start, "target": spec.target}
        grid = _GRIDS[spec.method](spec)
        for suffix, strengths in grid:
            edits.append({"name": f"{name}_{suffix}" if len(grid) > 1 else name} | words | strengths)
    if not edits:
        raise EditError('no edit is given: use --target "a face with red hair" or an edits file')
    names = [edit["name"] for edit in edits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EditError(f"two edits are called '{twice[0]}': give each its own name")
    return edits


def own_name(spec: EditSpec, neutral: str) -> str:
    """What an edit without a name is called: the words that its target adds to the neutral ones."""
    if spec.target is not None:
        return _name_from_words(spec.target, neutral)
    return slug(Path(spec.mapper or "").stem) or "mapper"


_Grid = list[tuple[str, dict[str, Any]]]


def _directions(spec: EditSpec) -> _Grid:
    betas = listed(spec.beta) or [None]
    counts = listed(spec.channels) or [DEFAULT_CHANNELS if spec.beta is None else None]
    alphas = listed(spec.alpha) or [DEFAULT_ALPHA[spec.method]]
    return [
        (
            f"a{alpha:g}_" + (f"b{beta:g}" if beta is not None else f"c{count}"),
            {"alpha": float(alpha), "beta": None if beta is None else float(beta), "channels": count},
        )
        for alpha, beta, count in itertools.product(alphas, betas, counts)
    ]


def _optimizations(spec: EditSpec) -> _Grid:
    given = {name: getattr(spec, name) for name in OPTIMIZE_DEFAULTS if getattr(spec, name) is not None}
    settings = OPTIMIZE_DEFAULTS | given
    return [
        (
            f"l{weight:g}" + (f"_c{count}" if count else ""),
            settings | {"lambda_l2": float(weight), "channels": count},
        )
        for weight, count in itertools.product(listed(settings["lambda_l2"]), listed(spec.channels) or [None])
    ]


def _mappings(spec: EditSpec) -> _Grid:
    alphas = listed(spec.alpha) or [DEFAULT_ALPHA[spec.method]]
    return [(f"a{alpha:g}", {"alpha": float(alpha), "mapper": spec.mapper}) for alpha in alphas]


_GRIDS: dict[str, Callable[[EditSpec], _Grid]] = {
    "global": _directions,
    "global-weighted": _directions,
    "optimize": _optimizations,
    "mapper": _mappings,
}
"""Method → name suffix and strengths of every edit that a spec stands for."""


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
    except (ValueError, RecursionError, yaml.YAMLError) as error:
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
