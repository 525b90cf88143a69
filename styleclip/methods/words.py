"""What an edit says, as CLIP embeds it: every method is judged by the same two vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import embed_prompt, text_direction


@dataclass(frozen=True)
class Wording:
    """target [D]: unit embedding of the target, averaged over the bundle's templates; direction [D] = Δt.

    unknown_words: words of target and neutral that this CLIP was never trained on. judge: target and direction as the
    bundle's judge CLIP embeds them, where it has one.
    """

    target: Tensor
    direction: Tensor
    unknown_words: tuple[str, ...]
    judge: tuple[Tensor, Tensor] | None = None


def embed_words(models: Bundle, edit: Mapping[str, Any]) -> Wording:
    """Embed `target` and `neutral` of a planned edit. Raises PromptError for words that CLIP cannot tell apart."""
    target, neutral, templates = edit["target"], edit["neutral"], models.templates
    judge = models.judge_clip
    return Wording(
        target=embed_prompt(models.clip, target, templates),
        direction=text_direction(models.clip, target, neutral, templates),
        unknown_words=tuple(
            dict.fromkeys(models.clip.unknown_words(target) + models.clip.unknown_words(neutral))
        ),
        judge=None
        if judge is None
        else (embed_prompt(judge, target, templates), text_direction(judge, target, neutral, templates)),
    )
