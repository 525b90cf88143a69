"""Edits and attributes as people keep them in files, and what is wrong with them in one line."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from flows.forms.edits import FORMS, AnyForm, edit_form
from styleclip.errors import EditError
from tasks.jobs import MapperAttribute

T = TypeVar("T")


def read_edits(path: str | Path) -> list[AnyForm]:
    """Read edits from YAML, TOML or JSON: a list, or a mapping with `edits` and, if wanted, `defaults` for all.

    Raises EditError with the file, the edit and the field that is wrong.
    """
    return _entries(path, "edits", "edit", "{target: a smiling face}", lambda fields: edit_form(**fields))


def read_attributes(path: str | Path) -> list[MapperAttribute]:
    """Read attributes from YAML, TOML or JSON, laid out as edits are.

    Raises EditError with the file, the attribute and the field that is wrong.
    """
    return _entries(
        path, "attributes", "attribute", "{target: a smiling face}", lambda fields: MapperAttribute(**fields)
    )


def _entries(
    path: str | Path, kind: str, one: str, example: str, make: Callable[[dict[str, Any]], T]
) -> list[T]:
    path, where = Path(path), f"{kind} file {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EditError(f"{where} cannot be read: {' '.join(str(error).split())}") from error
    try:
        if path.suffix == ".toml":
            content = tomllib.loads(text)
        else:
            content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise EditError(f"{where}: {' '.join(str(error).split())}") from error
    if isinstance(content, list):
        content = {kind: content}
    if not isinstance(content, dict) or not isinstance(content.get(kind), list):
        raise EditError(f"{where}: expected a list of {kind}, or a mapping with the key '{kind}'")
    if unknown := sorted(set(map(str, content)) - {kind, "defaults"}):
        raise EditError(f"{where}: unknown key '{unknown[0]}' (known: {kind}, defaults)")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise EditError(f"{where}: 'defaults' must be a mapping such as {{alpha: 3}}")
    made = []
    for number, entry in enumerate(content[kind], 1):
        if not isinstance(entry, dict):
            raise EditError(f"{where}, {one} {number}: expected a mapping such as {example}")
        try:
            made.append(make({str(key): value for key, value in (defaults | entry).items()}))
        except ValidationError as error:
            raise EditError(f"{where}, {one} {number}: {first_complaint(error)}") from error
    return made


def first_complaint(error: ValidationError) -> str:
    """The first thing that a pydantic error complains about, in one line."""
    complaints = error.errors()
    # a number that is wrong is also not the word "auto", which helps nobody
    complaint = next((each for each in complaints if each["type"] != "literal_error"), complaints[0])
    # in a union the first part of a place is the method, and the last may be the type that was tried
    inside = [str(part) for part in complaint["loc"]]
    inside = inside[1:] if inside and inside[0] in FORMS else inside
    places = [part for part in inside if not re.match(r"(float|int|str|list\[.*|constrained-.*)$", part)]
    if complaint["type"] == "missing" and places:
        return f"'{places[-1]}' is missing"
    if complaint["type"] == "union_tag_invalid":
        asked = str(complaint.get("ctx", {}).get("tag"))
        near = difflib.get_close_matches(asked, FORMS, n=1)
        return f"method: there is no method '{asked}'" + (
            f"; did you mean '{near[0]}'?" if near else f" (known: {', '.join(FORMS)})"
        )
    text = complaint["msg"].removeprefix("Value error, ")
    where = ".".join(places)
    return f"{where}: {text}" if where else text
