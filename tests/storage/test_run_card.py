"""A run folder remembers what it was made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import PlanMismatch, StoreCorrupt
from storage.run_card import keep_card


def test_the_same_call_continues_and_another_is_named(tmp_path: Path):
    run = str(tmp_path / "run")
    assert not keep_card(run, "training", {"steps": 10, "levels": ("coarse",)})
    assert keep_card(run, "training", {"steps": 10, "levels": ("coarse",)})
    with pytest.raises(PlanMismatch, match="steps was 10, is 20"):
        keep_card(run, "training", {"steps": 20, "levels": ("coarse",)})


def test_a_card_that_is_no_json_is_named(tmp_path: Path):
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(StoreCorrupt, match=r"training\.json"):
        keep_card(str(tmp_path), "training", {})
