"""What an edit says, as CLIP embeds it: every method is judged by the same two vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import embed_prompt, text_direction
from styleclip.errors import PromptError


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


class Words(Protocol):
    """Anything that says what images shall show, and what they show now (empty: the bundle's neutral words)."""

    @property
    def target(self) -> str | None: ...

    @property
    def neutral(self) -> str: ...


def embed_words(models: Bundle, words: Words) -> Wording:
    """Embed target and neutral. Raises PromptError for words that CLIP cannot tell apart, or for none."""
    target, neutral, templates = words.target, words.neutral or models.neutral, models.templates
    if not target:
        raise PromptError("'target' is missing: say what the image shall show")
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
