"""Which edits stand against each other: the same words by every method, at the strengths the embedded world ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avatars.shipped import shipped_mappers, shipped_optimization, shipped_strengths
from avatars.world.captions import NEUTRAL, prompt
from styleclip.errors import EditError


def avatar_contest(edit: str, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Edits as they would stand in an edits file, one per method, for one statement about avatars.

    Raises EditError for a statement that ships no strength, or no mapper where one is asked for.
    """
    strengths, mappers = shipped_strengths(), shipped_mappers()
    if edit not in strengths:
        raise EditError(f"there is no edit '{edit}' of avatars; known: {', '.join(sorted(strengths))}")
    alpha, channels = strengths[edit]
    settings: dict[str, dict[str, Any]] = {
        "global": {"alpha": alpha, "channels": channels},
        "global-weighted": {"alpha": alpha, "channels": channels},
        "mapper": {"mapper": mappers.get(edit), "alpha": 1.0},
        "optimize": shipped_optimization(edit),
    }
    if "mapper" in methods and edit not in mappers:
        raise EditError(
            f"no mapper ships for '{edit}' (there are: {', '.join(sorted(mappers)) or 'none'}): compare other edits, "
            "or leave the method mapper out"
        )
    return [
        {"target": prompt(edit), "neutral": NEUTRAL, "method": method, **settings[method]}
        for method in methods
    ]


def contested() -> list[str]:
    """The edits that all methods can do: those with a mapper."""
    return sorted(shipped_mappers())
