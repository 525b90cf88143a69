"""The strengths that an evaluation chose for the edits of this world, shipped with the weights."""

from __future__ import annotations

import json
from pathlib import Path

STRENGTHS = Path(__file__).parent / "weights" / "strengths.json"


def shipped_strengths() -> dict[str, tuple[float, int]]:
    """Edit → (α, channels), as `styleclip evaluate` chose them on avatars that were not scored."""
    chosen = json.loads(STRENGTHS.read_text(encoding="utf-8"))
    return {edit: (float(values["alpha"]), int(values["channels"])) for edit, values in chosen.items()}
