"""A plan is written once and nothing else is done under it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from storage.plan import PlannedImage, RunPlan, compare, keep_plan, load_plan

# Any text, and what Python makes of file names that are no UTF-8.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
images = st.lists(
    st.builds(PlannedImage, texts, texts, texts), max_size=7, unique_by=lambda image: image.id
).map(tuple)
plans = st.builds(
    RunPlan,
    images,
    st.lists(st.dictionaries(texts, st.none() | st.floats(-9e9, 9e9) | texts), max_size=3).map(tuple),
    st.integers(1, 5),
    st.dictionaries(texts, texts | st.dictionaries(texts, texts)),
)


@settings(max_examples=50, deadline=None)
@given(plan=plans)
def test_json_round_trip_and_shards(plan):
    again = RunPlan.from_json(plan.to_json())
    assert again.images == plan.images and again.to_json() == plan.to_json()
    assert compare(again.edits, plan.edits) == compare(again.fingerprint, plan.fingerprint) == []
    assert plan.to_json().isascii()
    assert [image for shard in plan.shards for image in shard] == list(plan.images)
    assert all(len(shard) <= plan.shard_size for shard in plan.shards)


@settings(max_examples=50, deadline=None)
@given(plan=plans, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_listing_does_not_matter(plan, seed):
    shuffled = list(plan.images)
    seed.shuffle(shuffled)
    assert replace(plan, images=tuple(shuffled)).to_json() == plan.to_json()


PLAN = RunPlan(
    (PlannedImage("a", "a.png", "1"), PlannedImage("b", "b.png", "2")),
    ({"name": "x", "alpha": 2.0},),
    1,
    {"seed": "1"},
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shard_size": 2}, "shard_size was 1, is 2"),
        ({"fingerprint": {"seed": "2"}}, "seed was 1, is 2"),
        ({"fingerprint": {"seed": "1", "directions": "abc"}}, "directions was None, is abc"),
        ({"images": PLAN.images[:1]}, "image 'b' is gone"),
        ({"images": (*PLAN.images, PlannedImage("c", "c.png", "3"))}, "image 'c' is new"),
        (
            {"images": (PLAN.images[0], PlannedImage("b", "b.png", "3"))},
            "the content of image 'b' has changed",
        ),
        ({"edits": ({"name": "x", "alpha": 3.0},)}, r"edits\[0\].alpha was 2.0, is 3.0"),
        ({"edits": ()}, "edits: 1 before, 0 now"),
    ],
)
def test_another_plan_is_refused_and_says_what_differs(tmp_path, change, words):
    run = str(tmp_path / "run")
    keep_plan(run, PLAN)
    with pytest.raises(PlanMismatch, match=words) as caught:
        keep_plan(run, replace(PLAN, **change))
    assert run in str(caught.value) and "\n" not in str(caught.value)
    assert load_plan(run) == PLAN


def test_many_differences_stay_one_short_line(tmp_path):
    keep_plan(str(tmp_path), PLAN)
    many = tuple(PlannedImage(f"n\n{i}", "", "") for i in range(1000))
    with pytest.raises(PlanMismatch, match="and 999 more") as caught:
        keep_plan(str(tmp_path), replace(PLAN, images=many))
    assert len(str(caught.value)) < 400


def test_the_same_plan_is_continued(tmp_path):
    run = str(tmp_path / "run")
    assert load_plan(run) is None
    assert keep_plan(run, PLAN) is False
    written = (tmp_path / "run" / "plan.json").stat()
    # Tuples come back from the file as lists; it is the same plan all the same.
    assert keep_plan(run, replace(PLAN, edits=[{"alpha": 2, "name": "x"}])) is True
    assert (tmp_path / "run" / "plan.json").stat().st_mtime_ns == written.st_mtime_ns
    assert load_plan(run) == PLAN


def test_of_runs_that_begin_at_once_one_wins(tmp_path):
    seeds = (1, 1, 2, 3)

    def begin(run: str, seed: int, barrier: threading.Barrier) -> str:
        barrier.wait(20)
        try:
            return "continued" if keep_plan(run, replace(PLAN, fingerprint={"seed": seed})) else "wrote"
        except PlanMismatch:
            return "refused"

    with ThreadPoolExecutor(len(seeds)) as pool:
        for attempt in range(30):
            run, barrier = str(tmp_path / str(attempt)), threading.Barrier(len(seeds))
            jobs = [(seed, pool.submit(begin, run, seed, barrier)) for seed in seeds]
            found = [(seed, job.result()) for seed, job in jobs]
            (winner,) = [seed for seed, what in found if what == "wrote"]
            assert load_plan(run).fingerprint == {"seed": winner}
            assert all((what == "refused") == (seed != winner) for seed, what in found)
            assert os.listdir(run) == ["plan.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"images": 3',
        "[]",
        "null",
        "{}",
        '{"version": 99}',
        '{"version": 1, "images": [{"id": 1}]}',
        "\xff",
    ],
)
def test_a_damaged_plan_is_said_to_be_one(tmp_path, text):
    (tmp_path / "plan.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreCorrupt, match=r"plan\.json cannot be read") as caught:
        load_plan(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_impossible_plans_are_refused():
    with pytest.raises(StorageError, match="have the id 'a'"):
        replace(PLAN, images=(PLAN.images[0], PLAN.images[0]))
    with pytest.raises(StorageError, match="shard_size is 0"):
        replace(PLAN, shard_size=0)


def test_the_same_images_elsewhere_are_the_same_run(tmp_path):
    run = str(tmp_path / "run")
    keep_plan(run, PLAN)
    moved = replace(PLAN, images=tuple(replace(image, path=f"/mnt/{image.path}") for image in PLAN.images))
    assert keep_plan(run, moved) is True and moved.run_id == PLAN.run_id
    assert load_plan(run) == moved, "shards read the files where they are now"


def test_a_plan_is_parsed_once_while_its_file_stays_as_it_is(tmp_path):
    run = str(tmp_path / "run")
    keep_plan(run, PLAN)
    assert load_plan(run) is load_plan(run)
    (tmp_path / "run" / "plan.json").write_text(replace(PLAN, shard_size=2).to_json())
    assert load_plan(run).shard_size == 2
