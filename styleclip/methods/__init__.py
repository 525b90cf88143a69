"""The three methods of editing behind one face: words and inverted images in, edited images out.

A new method is one file here and one line in `METHODS`; its form for people is one class in `flows.forms.edits`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from styleclip.edits import Edit, GlobalEdit, MapperEdit, OptimizeEdit
from styleclip.errors import BundleError, StyleclipError
from styleclip.methods.direction import compile_direction
from styleclip.methods.face import CompiledEdit, Edited, InvertedBatch, Setting
from styleclip.methods.mapper import compile_mapper
from styleclip.methods.optimization import compile_optimization

__all__ = [
    "METHODS",
    "CompiledEdit",
    "Edit",
    "Edited",
    "GlobalEdit",
    "InvertedBatch",
    "MapperEdit",
    "Method",
    "OptimizeEdit",
    "Setting",
    "compile_edit",
    "read_edit",
]


@dataclass(frozen=True)
class Method:
    """What an edit of a method asks for, and what makes it ready for images: embeds its words, reads what it needs.

    `compile` raises PromptError and EditError for words and strengths that cannot work, BundleError for models that the
    method needs and the bundle lacks.
    """

    edit: type[Edit]
    compile: Callable[[Setting, Any], CompiledEdit]


METHODS: dict[str, Method] = {
    "global": Method(GlobalEdit, compile_direction),
    "global-weighted": Method(GlobalEdit, compile_direction),
    "optimize": Method(OptimizeEdit, compile_optimization),
    "mapper": Method(MapperEdit, compile_mapper),
}


def compile_edit(setting: Setting, edit: Edit) -> CompiledEdit:
    """Make an edit ready for images; errors about its words name the edit."""
    try:
        return METHODS[edit.method].compile(setting, edit)
    except BundleError:
        raise
    except StyleclipError as error:
        raise type(error)(f"edit '{edit.name}': {error}") from error


def read_edit(planned: Mapping[str, Any]) -> Edit:
    """Inverse of `Edit.to_plan`; what older plans lack gets its default, what only they have is left out."""
    kind = METHODS[planned["method"]].edit
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in planned.items() if name in known})
