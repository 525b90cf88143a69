"""Methods compared fairly: each at the strength at which it changes the target by the same amount.

How far other attributes follow means little between two methods of which one edits harder: attribute dependency is
read at a matched change of the target (Wu et al. 2021, arXiv 2011.12799).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

FIRST_FRACTION = 16


@dataclass(frozen=True)
class Match:
    """A strength and what the measure was there; `matched` is False when no strength up to the limit reached enough."""

    strength: float
    reached: float
    matched: bool


def match_strength(
    measure: Callable[[float], float], wanted: float, limit: float, tolerance: float = 0.01, halvings: int = 7
) -> Match:
    """The smallest strength in (0, limit] at which `measure` comes within `tolerance` of `wanted`, or beyond.

    Strengths are doubled from limit/16 until one is enough, then the interval is halved, at most `halvings` times;
    the last strength that was enough is returned. Where none is enough, the one with the highest measure is returned,
    not matched. A measure that is not a number counts as not enough. Raises ValueError for a limit that is not above 0.
    """
    if not 0 < limit < math.inf:
        raise ValueError(f"the limit of a strength must be a number above 0, not {limit}")
    enough = wanted - tolerance
    low, best = 0.0, Match(limit / FIRST_FRACTION, -math.inf, False)
    strength = limit / FIRST_FRACTION
    while True:
        reached = measure(strength)
        if reached >= enough:
            break
        if reached > best.reached:
            best = Match(strength, reached, False)
        if strength >= limit:
            return best
        low, strength = strength, min(2 * strength, limit)
    found = Match(strength, reached, True)
    for _ in range(halvings):
        if found.reached - wanted <= tolerance:
            break
        middle = (low + found.strength) / 2
        reached = measure(middle)
        if reached >= enough:
            found = Match(middle, reached, True)
        else:
            low = middle
    return found
