"""A look into a directions store, for `styleclip directions show`."""

from __future__ import annotations

import math
from typing import Any

import torch

from storage.directions import DirectionStore
from styleclip.directions import strongest_channels as strongest
from styleclip.directions import text_direction
from styleclip.methods import GlobalEdit, compile_edit
from tasks.process.models import bundle, directions, setting, store_of

COUNTS = (1, 3, 10, 20, 40, 100, 300, 1000)


def strongest_channels(
    name: str, device: str, uri: str | None, target: str, neutral: str | None, top: int
) -> dict[str, Any]:
    """The `top` channels with the largest |Δi·Δt| for a change of words.

    {neutral, store, total, unknown_words, channels: [{layer, channel, projection, reliability}], betas: [(β, channels
    it leaves)], chosen, why: what "auto" chooses}; reliability is the resultant length: 1 where all images agree on the
    channel's direction, None where it is not known (imported directions).
    """
    models = bundle(name, device)
    place = store_of(name, device, uri)
    rows = directions(place, name, device)
    start = neutral or models.neutral
    with torch.inference_mode():
        text = text_direction(models.clip, target, start, models.templates)
        found = strongest(rows.directions, text, models.generator.layout, top)
        sizes = (rows.directions @ text).abs().sort(descending=True).values.tolist()
        auto = compile_edit(setting(name, device, uri), GlobalEdit(target=target, neutral=start)).edit
    resultant = [
        None if math.isnan(value) else value for value in DirectionStore.open(place).resultant.tolist()
    ]
    return {
        "target": target,
        "neutral": start,
        "store": place,
        "total": len(sizes),
        "unknown_words": models.clip.unknown_words(target),
        "channels": [
            {
                "layer": channel.layer.name,
                "channel": channel.channel,
                "projection": channel.relevance,
                "reliability": resultant[channel.position],
            }
            for channel in found
        ],
        "chosen": getattr(auto, "channels", None),
        "why": getattr(auto, "why", ""),
        "betas": [(sizes[count - 1], count) for count in COUNTS if count <= len(sizes)],
    }
