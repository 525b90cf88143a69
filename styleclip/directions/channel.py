"""Δi_c: the CLIP-space direction of every style channel (paper §6, "channelwise manipulation").

For an image and a channel c, CLIP sees the pictures with s_c raised and lowered by `step`·σ_c. The difference of the
two unit embeddings, itself made unit, is averaged over images.

Two savings, both exact up to rounding: layers before the perturbed one are computed once per image (prefix reuse), and
the perturbations of one image go through the rest in batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.networks.generator import Generator, Resume

Baseline = Literal["sample", "mean"]


class ImageEncoder(Protocol):
    """Anything that embeds pictures: [N, 3, H, W] in [−1, 1] → [N, D]."""

    def encode_image(self, image: Tensor) -> Tensor: ...


Passes = Callable[[int, Callable[[slice], Tensor]], Iterator[tuple[slice, Tensor]]]
"""(count, work) → (part, work(part)) for parts that cover `count` channels in order; says how large passes are."""


def passes_of(batch: int) -> Passes:
    """Passes of `batch` pictures, two for each channel."""

    def over(count: int, work: Callable[[slice], Tensor]) -> Iterator[tuple[slice, Tensor]]:
        size = max(1, batch // 2)
        for first in range(0, count, size):
            part = slice(first, min(first + size, count))
            yield part, work(part)

    return over


@torch.no_grad()
def channel_direction_sums(
    generator: Generator,
    clip: ImageEncoder,
    styles: Tensor,
    channels: Sequence[int],
    std: Tensor,
    step: float = 5.0,
    baseline: Baseline = "sample",
    mean: Tensor | None = None,
    over: Passes | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the images of `styles` [N, C_total], for `channels` (positions in `layout.conv`).

    `std` and `mean` [C_conv] are the channels' statistics; with baseline "sample" (the paper) the image's own s_c is
    moved, with "mean" (the published code) s_c is set to the channel's mean first. `over` divides the channels
    of a layer into passes (None: of 64 pictures); results are per channel, so it changes nothing but rounding.

    bfloat16 (`styleclip.precision`) is no free lunch: on the avatars it takes two thirds of the time; its rows over
    100 images have cosine .99 (median; .93 at worst of 16) to the float32 ones and a resultant length of .33 instead
    of .51; over 4 images the cosine is .90 (.28 at the 5th percentile).

    Returns (sum [c, D] of the unit differences, count int64 [c], magnitude [c, D]: the sum of the differences before
    they are made unit). Sums may be added to those of other images; made unit, they are Δi_c.
    """
    layout = generator.layout
    assert styles.ndim == 2 and styles.shape[1] == layout.total, (styles.shape, layout.total)
    assert std.shape == (layout.conv_count,), f"std must be [{layout.conv_count}], got {tuple(std.shape)}"
    assert baseline == "sample" or mean is not None, "baseline 'mean' needs the channels' means"
    over = over or passes_of(64)
    positions = list(channels)
    state_of = {
        index: n for n, index in enumerate(i for i, layer in enumerate(layout.layers) if layer.kind == "conv")
    }
    # Channels of one layer resume from the same state: passes never mix layers.
    runs = [
        (layer, [row for row, _ in members])
        for layer, members in itertools.groupby(
            enumerate(positions), key=lambda each: layout.layer_of[each[1]]
        )
    ]
    where = torch.tensor(positions, device=styles.device)
    columns, shift = layout.conv.to(styles.device)[where], step * std[where]
    centres = None if baseline == "sample" or mean is None else mean[where]
    index = torch.arange(len(positions), device=styles.device)

    def difference(s: Tensor, state: Resume, rows: slice) -> Tensor:
        """CLIP's unit embeddings with s_c raised, less those with s_c lowered, [n, D]."""
        moving = columns[rows]
        n = len(moving)
        centre = s[moving] if centres is None else centres[rows]
        moved = s.expand(2, n, -1).clone()
        moved[0, index[:n], moving] = centre - shift[rows]
        moved[1, index[:n], moving] = centre + shift[rows]
        image = generator.synthesize(moved.flatten(0, 1), start=state.expand(2 * n))
        low, high = F.normalize(clip.encode_image(image), dim=1).chunk(2)
        return high - low

    unit_sum: Tensor | None = None
    magnitude: Tensor | None = None
    for s in styles:
        states = generator.checkpoint_activations(s[None])
        for layer, rows in runs:
            state, start = states[state_of[layer]], rows[0]

            def work(part: slice, s: Tensor = s, state: Resume = state, start: int = start) -> Tensor:
                return difference(s, state, slice(start + part.start, start + part.stop))

            for part, found in over(len(rows), work):
                done = slice(start + part.start, start + part.stop)
                if unit_sum is None or magnitude is None:
                    unit_sum = torch.zeros(len(positions), found.shape[1], device=s.device)
                    magnitude = torch.zeros_like(unit_sum)
                unit_sum[done] += F.normalize(found, dim=1)
                magnitude[done] += found
    assert unit_sum is not None and magnitude is not None, "no images: styles is empty"
    count = torch.full((len(positions),), len(styles), dtype=torch.int64, device=styles.device)
    return unit_sum, count, magnitude


def resultant_length(unit_sum: Tensor, count: Tensor) -> Tensor:
    """‖Σ unit differences‖ / N per channel, in [0, 1]: how far the images agree on the channel's direction."""
    return unit_sum.norm(dim=1) / count.clamp(min=1)
