"""Edits made ready for images, once per process and run."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from storage import uris
from styleclip.bundles.load import Bundle
from styleclip.methods import CompiledEdit, Edit, compile_edit
from styleclip.precision import computing_in
from tasks.process.models import bundle, setting


def compile_edits(name: str, device: str, uri: str | None, edits: Sequence[Edit]) -> list[CompiledEdit]:
    """Make all edits ready, whatever their methods; the same list at every call while the files they read stay.

    Raises PromptError and EditError with the name of the edit in front, BundleError for models that a method needs
    and the bundle lacks.
    """
    models = bundle(name, device)
    store = uri or models.directions
    files = [uris.join(str(store), "zarr.json")] if store else []
    files += [mapper for edit in edits if (mapper := getattr(edit, "mapper", None))]
    stamps = tuple(uris.stamp_of(file) for file in files)
    return _compile(name, device, uri, tuple(edits), models, stamps)


@functools.lru_cache(maxsize=4)
def _compile(
    name: str, device: str, uri: str | None, edits: tuple[Edit, ...], _models: Bundle, _stamps: object
) -> list[CompiledEdit]:
    # made once per process and used by runs in any precision: a few words cost no time
    with torch.inference_mode(), computing_in("float32"):
        return [compile_edit(setting(name, device, uri), edit) for edit in edits]
