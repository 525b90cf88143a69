"""The grid that forms unfold into: one edit per combination of strengths, each with a name of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from flows.forms.edits import AnyForm, MapperForm
from styleclip.edits import Edit
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


def expand(forms: Iterable[AnyForm], neutral: str) -> list[Edit]:
    """Unfold grids; `neutral` stands in where a form names none.

    A grid's edits are called NAME_a3_b0.1, NAME_a3_c40, NAME_l0.008 or NAME_l0.008_c40. Raises EditError when there is
    no edit, two edits have one name, or an edit has the name of what a run keeps itself.
    """
    edits: list[Edit] = []
    for form in forms:
        start = form.neutral or neutral
        name = slug(form.name) if form.name else own_name(form, start)
        if not name:
            raise EditError(f"edit name '{form.name}' has no letter or digit to make a folder name from")
        if name in RESERVED:
            raise EditError(
                f"an edit cannot be called '{name}': the run keeps its own pictures under that name"
            )
        grid = form.strengths()
        edits += [
            form.edit(f"{name}_{suffix}" if len(grid) > 1 else name, start, strengths)
            for suffix, strengths in grid
        ]
    if not edits:
        raise EditError('no edit is given: use --target "a face with red hair" or an edits file')
    names = [edit.name for edit in edits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EditError(f"two edits are called '{twice[0]}': give each its own name")
    return edits


def own_name(form: AnyForm, neutral: str) -> str:
    """What an edit without a name is called: the words that its target adds to the neutral ones, or its mapper."""
    if isinstance(form, MapperForm) and not form.target:
        return slug(Path(form.mapper).stem) or "mapper"
    return _name_from_words(form.target, neutral)
