"""Settings that suit this world: strengths that an evaluation chose, shipped mappers, and the optimization's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"
STRENGTHS, MAPPERS = WEIGHTS / "strengths.json", WEIGHTS / "mappers"
OPTIMIZATION: dict[str, Any] = {"steps": 60}
"""Fields of an edit of the method `optimize`; what is not here is as published."""


def shipped_strengths() -> dict[str, tuple[float, int]]:
    """Edit → (α, channels), as `styleclip evaluate` chose them on avatars that were not scored."""
    chosen = json.loads(STRENGTHS.read_text(encoding="utf-8"))
    return {edit: (float(values["alpha"]), int(values["channels"])) for edit, values in chosen.items()}


def shipped_mappers() -> dict[str, str]:
    """Edit → name of the mapper that the bundle ships for it."""
    return {path.stem.replace("-", " "): path.stem for path in sorted(MAPPERS.glob("*.safetensors"))}
