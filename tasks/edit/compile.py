"""Words into compiled edits of any method, once per process and run."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from storage import uris
from styleclip.bundles.load import Bundle
from styleclip.errors import BundleError, StyleclipError
from styleclip.methods.direction import compile_direction
from styleclip.methods.face import CompiledEdit, Setting
from styleclip.methods.mapper import compile_mapping
from styleclip.methods.optimization import compile_optimization
from styleclip.precision import computing_in

COMPILERS: dict[str, Callable[[Setting, Mapping[str, Any]], CompiledEdit]] = {
    "global": compile_direction,
    "global-weighted": compile_direction,
    "optimize": compile_optimization,
    "mapper": compile_mapping,
}
"""Method → what makes an edit of it ready for images."""


def compile_edits(
    name: str, device: str, uri: str | None, edits: Sequence[Mapping[str, Any]]
) -> list[CompiledEdit]:
    """Make all edits ready, whatever their methods; the same list at every call while the files they read stay.

    Raises PromptError and EditError with the name of the edit in front, BundleError for models that a method needs
    and the bundle lacks.
    """
    setting = Setting(name, device, uri)
    store = uri or setting.models.directions
    files = [uris.join(str(store), "zarr.json")] if store else []
    files += [edit["mapper"] for edit in edits if edit.get("mapper")]
    stamps = tuple(uris.stamp_of(file) if uris.exists(file) else None for file in files)
    # plans sort their keys, and the first run compiles what it has not read from a plan yet
    text = json.dumps([dict(edit) for edit in edits], sort_keys=True)
    return _compile(setting, setting.models, stamps, text)


@functools.lru_cache(maxsize=4)
def _compile(setting: Setting, _models: Bundle, _stamps: object, edits: str) -> list[CompiledEdit]:
    # made once per process and used by runs in any precision: a few words cost no time
    with torch.inference_mode(), computing_in("float32"):
        return [_one(setting, edit) for edit in json.loads(edits)]


def _one(setting: Setting, edit: Mapping[str, Any]) -> CompiledEdit:
    try:
        return COMPILERS[edit["method"]](setting, edit)
    except BundleError:
        raise
    except StyleclipError as error:
        raise type(error)(f"edit '{edit['name']}': {error}") from error
