"""Words into style directions, once per process and run."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styleclip.bundle import Bundle
from styleclip.directions import (
    embed_prompt,
    expand,
    style_direction,
    text_direction,
    weighted_style_direction,
)
from styleclip.errors import BundleError, EditError, StyleclipError
from tasks.models import ChannelDirections, bundle, directions


@dataclass(frozen=True)
class CompiledEdit:
    """One edit, ready for the generator.

    words: the edit as planned (name, method, neutral, target, alpha, beta, channels); shift [C_total] = α·Δs;
    target [D]: unit text embedding; text [D] = Δt; beta: the threshold that was used;
    unknown_words: words of the target that this CLIP was never trained on.
    """

    words: dict[str, Any]
    shift: Tensor
    target: Tensor
    text: Tensor
    channels_used: int
    beta: float
    unknown_words: tuple[str, ...]


def store_of(name: str, device: str, uri: str | None) -> str:
    """The directions store to use: `uri`, or the one that the bundle ships. Raises BundleError when there is none."""
    found = uri or bundle(name, device).directions
    if not found:
        raise BundleError(
            f"bundle '{name}' ships no channel directions: make them with "
            f"`styleclip precompute --bundle {name} --output FILE.zarr`, then pass --directions FILE.zarr"
        )
    return str(found)


def compile_edits(
    name: str, device: str, uri: str | None, edits: Sequence[dict[str, Any]]
) -> list[CompiledEdit]:
    """Style directions of all edits (paper §6); the same list at every call with the same arguments.

    Raises PromptError and EditError with the name of the edit in front.
    """
    return _compile(name, device, store_of(name, device, uri), json.dumps(list(edits)))


@functools.lru_cache(maxsize=4)
def _compile(name: str, device: str, uri: str, edits: str) -> list[CompiledEdit]:
    models, channels = bundle(name, device), directions(uri, name, device)
    with torch.inference_mode():
        return [_one(models, channels, edit) for edit in json.loads(edits)]


def _one(models: Bundle, channels: ChannelDirections, edit: dict[str, Any]) -> CompiledEdit:
    chosen_by = {"beta": edit["beta"], "channels": edit["channels"], "std": channels.std}
    try:
        text = text_direction(models.clip, edit["target"], edit["neutral"], models.templates)
        if edit["method"] == "global-weighted":
            found = weighted_style_direction(channels.magnitude, text, **chosen_by)
        else:
            found = style_direction(channels.directions, text, **chosen_by)
    except StyleclipError as error:
        raise type(error)(f"edit '{edit['name']}': {error}") from error
    unknown = models.clip.unknown_words(edit["target"])
    shift = edit["alpha"] * expand(models.generator.layout, found.delta)
    if not bool(torch.isfinite(shift).all()):
        raise EditError(
            f"edit '{edit['name']}': the direction is not finite; are the directions of {channels.uri} sound?"
        )
    return CompiledEdit(
        words=edit,
        shift=shift,
        target=embed_prompt(models.clip, edit["target"], models.templates),
        text=text,
        channels_used=found.channels_used,
        beta=found.beta,
        unknown_words=tuple(unknown),
    )
