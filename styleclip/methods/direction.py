"""Global directions (paper §6) and our weighted variant: one shift of the style vector for all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import expand, style_direction, weighted_style_direction
from styleclip.edits import GlobalEdit
from styleclip.errors import EditError
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.words import Wording, embed_words


@dataclass(frozen=True)
class DirectedEdit:
    """G(s + αΔs): shift [C_total] = α·Δs; beta is the threshold that was used, channels_used what it leaves."""

    edit: GlobalEdit
    wording: Wording
    shift: Tensor
    channels_used: int
    beta: float
    fingerprint: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """α, β and the number of channels."""
        return {"alpha": self.edit.alpha, "beta": self.beta, "channels_used": self.channels_used}

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """One pass of the generator."""
        styles = batch.s + self.shift
        return Edited(models.generator.synthesize(styles), styles)


def compile_direction(setting: Setting, edit: GlobalEdit) -> DirectedEdit:
    """Words → Δs. Raises BundleError without directions, PromptError and EditError for words that move nothing."""
    models = setting.models
    channels = setting.channel_directions
    wording = embed_words(models, edit)
    # beta, where it is given, chooses; the number of channels is then its outcome
    count = None if edit.beta is not None else edit.channels
    if edit.method == "global-weighted":
        found = weighted_style_direction(
            channels.magnitude, wording.direction, beta=edit.beta, channels=count, std=channels.std
        )
    else:
        found = style_direction(
            channels.directions, wording.direction, beta=edit.beta, channels=count, std=channels.std
        )
    shift = edit.alpha * expand(models.generator.layout, found.delta)
    if not bool(torch.isfinite(shift).all()):
        raise EditError(f"the direction is not finite; are the directions of {channels.origin} sound?")
    fingerprint = {"directions": channels.fingerprint}
    return DirectedEdit(edit, wording, shift, found.channels_used, found.beta, fingerprint)
