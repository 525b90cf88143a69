"""Global directions (paper §6) and our weighted variant: one direction in style space for all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import ChannelDirections, expand, style_direction, weighted_style_direction
from styleclip.directions.readings import Aim, aim_of
from styleclip.directions.style import StyleDirection
from styleclip.edits import CHANNELS, GlobalEdit
from styleclip.errors import EditError
from styleclip.methods.channels import fewest_channels
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.strength import Search, readings_fingerprint, seek_strength
from styleclip.methods.words import Wording, embed_words

FIRST = 3.0
"""α that a search begins with; the largest that it tries is four times as large."""


@dataclass(frozen=True)
class DirectedEdit:
    """G(s + αΔs): step [C_total] = Δs; beta is the threshold that was used, channels_used what it leaves; search says
    what α is looked for, and is None where it is given."""

    edit: GlobalEdit
    wording: Wording
    step: Tensor
    channels_used: int
    beta: float
    search: Search | None
    fingerprint: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """α where it is the same for all, β, the number of channels, and why it is this one."""
        alpha = self.edit.alpha if self.search is None else None
        why = self.edit.why or None
        return {"alpha": alpha, "beta": self.beta, "channels_used": self.channels_used, "channels_why": why}

    @property
    def shift(self) -> Tensor:
        """α·Δs [C_total]; only where α is the same for all."""
        assert not isinstance(self.edit.alpha, str), "every image has an α of its own"
        return self.edit.alpha * self.step

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """One pass of the generator, or a search in a few."""
        if self.search is not None:
            return seek_strength(models, batch, self.search, lambda alpha: batch.s + alpha * self.step)
        styles = batch.s + self.shift
        return Edited(models.generator.synthesize(styles), styles)


def compile_direction(setting: Setting, edit: GlobalEdit) -> DirectedEdit:
    """Words → Δs. Raises BundleError without directions, PromptError and EditError for words that move nothing."""
    channels, wording = setting.channel_directions, embed_words(setting.models, edit)
    fingerprint, aim = {"directions": channels.fingerprint}, None
    if edit.alpha == "auto":
        aim = aim_of(setting.readings, wording.direction)
        fingerprint |= {"readings": readings_fingerprint(setting.readings)}
    edit, found = _chosen(setting, edit, wording, aim)
    step = expand(setting.models.generator.layout, found.delta)
    alpha = FIRST if isinstance(edit.alpha, str) else edit.alpha
    if not bool(torch.isfinite(alpha * step).all()):
        raise EditError(f"the direction is not finite; are the directions of {channels.origin} sound?")
    search = None if aim is None else Search(aim.value, wording.direction, FIRST)
    return DirectedEdit(edit, wording, step, found.channels_used, found.beta, search, fingerprint)


def _chosen(
    setting: Setting, edit: GlobalEdit, wording: Wording, aim: Aim | None
) -> tuple[GlobalEdit, StyleDirection]:
    """The edit with its number of channels, and Δs."""
    known, dt = setting.channel_directions, wording.direction
    # beta, where it is given, chooses; the number of channels is then its outcome
    if edit.beta is not None or (edit.channels != "auto" and edit.channels is not None):
        count = None if edit.beta is not None or edit.channels == "auto" else edit.channels
        return edit, _direction(edit, known, dt, edit.beta, count)
    if aim is None:
        return edit, _direction(edit, known, dt, None, CHANNELS)
    choice = fewest_channels(
        setting.models,
        Search(aim.value, dt, FIRST),
        aim.rows,
        lambda count: _direction(edit, known, dt, None, count),
    )
    return replace(edit, channels=choice.best.channels, why=choice.why), choice.best.direction


def _direction(
    edit: GlobalEdit, known: ChannelDirections, dt: Tensor, beta: float | None, count: int | None
) -> StyleDirection:
    if edit.method == "global-weighted":
        return weighted_style_direction(known.magnitude, dt, beta=beta, channels=count, std=known.std)
    return style_direction(known.directions, dt, beta=beta, channels=count, std=known.std)
