"""Zero-shot classification of avatars by prompts: can this CLIP tell what captions say?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from avatars.world.attributes import COLUMN, STATEMENTS, holds
from avatars.world.captions import prompt

CLEARLY_NOT = 0.4


@torch.no_grad()
def zero_shot(
    encode_image: Callable[[Tensor], Tensor],
    encode_text: Callable[[Sequence[str]], Tensor],
    images: Tensor,
    quantities: Tensor,
) -> dict[str, float]:
    """Balanced zero-shot accuracy per statement, from pictures [N, 3, H, W] and their quantities [N, K].

    Of the prompts of a statement's group the nearest one is the answer; accuracy is the mean of the recalls of "it is
    this one" and "it is another". A statement without rivals is decided by a threshold halfway between the mean
    similarities of both sides.
    """
    text = F.normalize(encode_text([prompt(statement.name) for statement in STATEMENTS]), dim=1)
    image = F.normalize(torch.cat([encode_image(part) for part in images.split(100)]), dim=1)
    similarity, true = image @ text.T, holds(quantities).to(images.device)
    scores: dict[str, float] = {}
    for column, statement in enumerate(STATEMENTS):
        rivals = [i for i, other in enumerate(STATEMENTS) if other.group and other.group == statement.group]
        if len(rivals) > 1:
            rows = true[:, rivals].any(dim=1)
            said = similarity[rows][:, rivals].argmax(dim=1) == rivals.index(column)
            wanted = true[rows, column]
        else:
            rows = true[:, column] | (quantities[:, COLUMN[statement.quantity]] < CLEARLY_NOT).to(
                images.device
            )
            values, wanted = similarity[rows, column], true[rows, column]
            said = values > (values[wanted].mean() + values[~wanted].mean()) / 2
        scores[statement.name] = float((said[wanted].float().mean() + (~said)[~wanted].float().mean()) / 2)
    return scores
