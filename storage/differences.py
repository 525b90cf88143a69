"""What differs between two JSON values, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.errors import PlanMismatch

_SHOWN = 3


def compare(earlier: Any, now: Any, at: str = "") -> list[str]:
    """Human-readable differences of two JSON values; tuples count as lists, as they come back from a file."""
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        found = []
        for key in sorted({*earlier, *now}, key=str):
            found += compare(earlier.get(key), now.get(key), f"{at}.{key}" if at else str(key))
        return found
    if isinstance(earlier, list | tuple) and isinstance(now, list | tuple):
        if len(earlier) != len(now):
            return [f"{at}: {len(earlier)} before, {len(now)} now"]
        return [
            line
            for index, (a, b) in enumerate(zip(earlier, now, strict=True))
            for line in compare(a, b, f"{at}[{index}]")
        ]
    # Not a number is not equal to itself, and means the same all the same.
    same = earlier == now or (earlier != earlier and now != now)
    return [] if same else [f"{at} was {_short(earlier)}, is {_short(now)}"]


def listed(differences: Sequence[str], more: int = 0) -> str:
    """The first differences on one line, and how many more there are, `more` uncounted ones included."""
    more += len(differences) - _SHOWN
    return "; ".join(differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def another_run(run_dir: str, differences: Sequence[str], more: int = 0) -> PlanMismatch:
    """What to raise when a folder belongs to another run; `more` as for `listed`."""
    return PlanMismatch(
        f"{run_dir} belongs to another run ({listed(differences, more)}): choose another output folder, or repeat the "
        "earlier call to continue it"
    )


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:39] + "…"
