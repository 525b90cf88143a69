"""How many channels an edit moves: as few as do it, tried on a handful of the generator's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import expand
from styleclip.directions.readings import reading_z
from styleclip.directions.style import StyleDirection
from styleclip.methods.face import InvertedBatch
from styleclip.methods.measures import see
from styleclip.methods.strength import GAIN, Search, seek_strength

COUNTS = (2, 4, 8, 16, 32)
SAMPLES = 16
NEARLY = 0.85
"""Share of the most that any number of channels brings to the aim."""


@dataclass(frozen=True)
class Trial:
    """A number of channels on the samples: how many come about as far as the aim, and the median α."""

    channels: int
    direction: StyleDirection
    reached: int
    alpha: float


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why, in a line."""

    best: Trial
    why: str


def _moved(styles: Tensor, step: Tensor, alpha: Tensor) -> Tensor:
    return styles + alpha * step


@torch.no_grad()
def fewest_channels(
    models: Bundle, search: Search, rows: Sequence[int], direction_of: Callable[[int], StyleDirection]
) -> Choice:
    """Try numbers of channels on samples `rows` that do not show the target yet; Δs of a number by `direction_of`.

    The smallest number that brings nearly as many samples to the aim as the best: more channels change more of what
    the words do not speak of. No judge and no picture of the user has a part in it, so that the choice depends on
    words and bundle alone.
    """
    spread = [rows[i * len(rows) // SAMPLES] for i in range(SAMPLES)] if len(rows) > SAMPLES else list(rows)
    generator = models.generator
    w = generator.map(reading_z(generator, spread), truncation_psi=models.truncation_psi)
    s = generator.styles(w)
    batch = InvertedBatch(w, s, see(models, generator.synthesize(s)))
    trials: list[Trial] = []
    for count in COUNTS:
        direction = direction_of(count)
        if trials and direction.channels_used == trials[-1].direction.channels_used:
            break  # there are no more
        step = expand(generator.layout, direction.delta)
        measures = seek_strength(models, batch, search, partial(_moved, s, step)).measures
        reached = int((measures["reached_value"] >= search.aim - GAIN).sum())
        alpha = float(measures["alpha"].median())
        trials.append(Trial(direction.channels_used, direction, reached, alpha))
        if reached >= NEARLY * len(spread):
            break  # no number can do so much better
    enough = max(trial.reached for trial in trials) * NEARLY
    best = next(trial for trial in trials if trial.reached >= enough)
    return Choice(
        best,
        f"{best.reached} of {len(spread)} samples reach the aim with {best.channels} channels, median alpha "
        f"{best.alpha:.2g}; tried: " + ", ".join(f"{trial.channels} ({trial.reached})" for trial in trials),
    )
