"""Settings that suit this world: strengths that an evaluation chose, shipped mappers, and the optimization's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"
STRENGTHS, MAPPERS = WEIGHTS / "strengths.json", WEIGHTS / "mappers"
OPTIMIZATION: dict[str, Any] = {
    "space": "s",
    "in_sigma": True,
    "steps": 100,
    "learning_rate": 0.7,
    "lambda_l2": 0.0003,
    "lambda_id": 0.1,
    "relative": 4.0,
    "channels": 40,
    "latent_noise": 6.0,
    "clip_noise": 0.2,
    "clip_shift": 0.03,
}
"""Fields of an edit of the method `optimize`. The published ones find codes that please this small CLIP without the
picture showing what the words say; see docs/methods.md."""
OPTIMIZATION_OF: dict[str, dict[str, Any]] = {
    "glasses": {"lambda_l2": 0.00003},
    "long hair": {"lambda_l2": 0.0001, "latent_noise": 2.0},
    "red hair": {"lambda_l2": 0.0001},
}
"""What single edits need instead, chosen on avatars that are not scored; the paper weighs each of its edits, too."""


def shipped_strengths() -> dict[str, tuple[float, int]]:
    """Edit → (α, channels), as `styleclip evaluate` chose them on avatars that were not scored."""
    chosen = json.loads(STRENGTHS.read_text(encoding="utf-8"))
    return {edit: (float(values["alpha"]), int(values["channels"])) for edit, values in chosen.items()}


def shipped_optimization(edit: str) -> dict[str, Any]:
    """Fields of an edit of the method `optimize`, for one statement about avatars."""
    return OPTIMIZATION | OPTIMIZATION_OF.get(edit, {})


def shipped_mappers() -> dict[str, str]:
    """Edit → name of the mapper that the bundle ships for it."""
    return {path.stem.replace("-", " "): path.stem for path in sorted(MAPPERS.glob("*.safetensors"))}
