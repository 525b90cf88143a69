"""A plan is written once and nothing else is done under it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import PlanMismatch, StoreCorrupt
from storage.plan import PlannedImage, RunPlan, keep_plan, load_plan

images = st.lists(st.builds(PlannedImage, st.text(), st.text(), st.text()), max_size=7).map(tuple)
plans = st.builds(
    RunPlan,
    images,
    st.lists(st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False) | st.text()), max_size=3).map(
        tuple
    ),
    st.integers(1, 5),
    st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.text())),
)


@given(plan=plans)
def test_json_round_trip_and_shards(plan):
    assert RunPlan.from_json(plan.to_json()) == plan
    assert [image for shard in plan.shards for image in shard] == list(plan.images)
    assert all(len(shard) <= plan.shard_size for shard in plan.shards)


PLAN = RunPlan(
    (PlannedImage("a", "a.png", "1"), PlannedImage("b", "b.png", "2")),
    ({"name": "x", "alpha": 2.0},),
    1,
    {"seed": "1"},
)


def test_the_same_plan_is_continued_and_another_refused(tmp_path):
    run = str(tmp_path / "run")
    assert load_plan(run) is None
    assert keep_plan(run, PLAN) is False
    assert keep_plan(run, PLAN) is True
    assert load_plan(run) == PLAN
    for other, words in [
        (replace(PLAN, shard_size=2), "shard_size was 1, is 2"),
        (replace(PLAN, fingerprint={"seed": "2"}), "fingerprint.seed was 1, is 2"),
        (replace(PLAN, images=PLAN.images[:1]), "images: 2 before, 1 now"),
        (replace(PLAN, edits=({"name": "x", "alpha": 3.0},)), r"edits\[0\].alpha was 2.0, is 3.0"),
    ]:
        with pytest.raises(PlanMismatch, match=words) as caught:
            keep_plan(run, other)
        assert run in str(caught.value) and "\n" not in str(caught.value)
    assert load_plan(run) == PLAN


def test_a_damaged_plan_is_said_to_be_one(tmp_path):
    (tmp_path / "plan.json").write_text('{"images": 3')
    with pytest.raises(StoreCorrupt, match=r"plan\.json cannot be read"):
        load_plan(str(tmp_path))
