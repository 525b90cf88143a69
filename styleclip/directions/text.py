"""Δt: the direction of a change of words in CLIP space (paper §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.errors import PromptError


class TextEncoder(Protocol):
    """Anything that embeds prompts: N strings → [N, D]."""

    def encode_text(self, prompts: Sequence[str]) -> Tensor: ...


@torch.no_grad()
def embed_prompt(clip: TextEncoder, prompt: str, templates: Sequence[str]) -> Tensor:
    """Prompt ensemble → unit embedding [D]: each filled template normalised, their mean normalised.

    The prompt stands wherever a template says `{}`. Raises PromptError when a filled template is longer than the
    context.
    """
    assert templates, "no templates: give at least ['{}']"
    # Not str.format: other braces, in a template or a prompt, are text.
    embeddings = F.normalize(clip.encode_text([text.replace("{}", prompt) for text in templates]), dim=1)
    return F.normalize(embeddings.mean(dim=0), dim=0)


def text_direction(clip: TextEncoder, target: str, neutral: str, templates: Sequence[str]) -> Tensor:
    """Δt [D], unit: from `neutral` to `target`, each prompt-averaged over `templates`.

    Raises PromptError when the two prompts mean the same to this CLIP, so that no direction leads from one
    to the other.
    """
    difference = embed_prompt(clip, target, templates) - embed_prompt(clip, neutral, templates)
    if float(difference.norm()) < 1e-4:
        raise PromptError(
            f"'{target}' and '{neutral}' are the same to this CLIP: no direction leads from one to the other"
        )
    return F.normalize(difference, dim=0)
