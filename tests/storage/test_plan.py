"""A plan is written once and nothing else is done under it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.datasets import content_hash, list_images
from storage.differences import compare
from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from storage.growth import Wanted, keep_plan
from storage.images_table import images_table
from storage.landmarks import Unusable
from storage.plan import generations_of, load_plan, path_of, shard_of
from storage.plan_table import with_faces
from storage.reading import read_metrics

V1 = Path(__file__).parents[1] / "data" / "run-v1"
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)
# Any text, and what Python makes of file names that are no UTF-8.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)


def wanted(images: dict[str, str], **changes: object) -> Wanted:
    """What a run over images (id → version) is asked for."""
    names = [f"{id_}.png" for id_ in images]
    values = {
        "root": "/in",
        "edits": ({"name": "x", "alpha": 2.0},),
        "shard_size": 1,
        "fingerprint": {"seed": "1"},
    }
    return Wanted(
        images_table(list(images), names, list(images.values())), **(values | changes),  # type: ignore[arg-type]
        hashes=lambda ids, _: ["another"] * len(ids),
    )  # fmt: skip


AB = {"a": "1-1", "b": "1-2"}


@settings(max_examples=30, deadline=None)
@given(
    names=st.dictionaries(ids, texts, min_size=1, max_size=7),
    size=st.integers(1, 5),
    edit=st.dictionaries(texts, st.none() | st.floats(-9e9, 9e9) | texts),
    seed=st.randoms(use_true_random=False),
)
def test_shards_hold_each_image_once_in_order_whoever_lists_the_folder(
    tmp_path_factory, names, size, edit, seed
):
    listed = list(names.items())
    seed.shuffle(listed)
    table = images_table([id_ for id_, _ in listed], [name for _, name in listed], ["1-1"] * len(listed))
    run = f"memory://plans/{tmp_path_factory.mktemp('x').name}"
    asked = Wanted(table, "/in", ({**edit, "name": "x"},), size, {"of": dict(edit)}, lambda *_: [])
    kept = keep_plan(run, asked)
    shards = [shard_of(run, number) for number in kept.missing]
    assert [image.id for shard in shards for image in shard.images] == sorted(names)
    assert all(len(shard.images) <= size for shard in shards)
    assert {i.id: i.path for s in shards for i in s.images} == {
        id_: path_of("/in", name.encode("utf-8", "surrogateescape")) for id_, name in names.items()
    }
    header = load_plan(run)
    assert compare(header.edits, asked.edits) == compare(header.fingerprint, asked.fingerprint) == []
    assert header.to_json().isascii()


@pytest.mark.parametrize(
    ("images", "change", "words"),
    [
        (AB, {"shard_size": 2}, "shard_size was 1, is 2"),
        (AB, {"fingerprint": {"seed": "2"}}, "seed was 1, is 2"),
        (AB, {"fingerprint": {"seed": "1", "directions": "abc"}}, "directions was None, is abc"),
        ({"a": "1-1"}, {}, "image 'b' is gone"),
        (AB | {"c": "1-3"}, {}, "image 'c' is new"),
        (AB | {"b": "2-3"}, {}, "the content of image 'b' has changed"),
        (AB, {"edits": ({"name": "x", "alpha": 3.0},)}, r"edits\[0\].alpha was 2.0, is 3.0"),
        (AB, {"edits": ()}, "edits: 1 before, 0 now"),
    ],
)
def test_strictly_another_plan_is_refused_and_says_what_differs(tmp_path, images, change, words):
    run = str(tmp_path / "run")
    kept = keep_plan(run, wanted(AB))
    with pytest.raises(PlanMismatch, match=words) as caught:
        keep_plan(run, wanted(images, **change), strict=True)
    assert run in str(caught.value) and "\n" not in str(caught.value)
    assert load_plan(run) == kept.generation


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": {"seed": "2"}}, "seed was 1, is 2"),
        ({"edits": ({"name": "x", "alpha": 3.0},)}, r"edits\.x\.alpha was 2.0, is 3.0"),
        ({"fingerprint": {"seed": "1", "edits": {"x": {"mapper": "f"}}}}, r"edits\.x was None"),
    ],
)
def test_what_cannot_grow_is_refused(tmp_path, change, words):
    run = str(tmp_path / "run")
    keep_plan(run, wanted(AB))
    with pytest.raises(PlanMismatch, match=words):
        keep_plan(run, wanted(AB, **change))
    keep_plan(run, wanted(AB, edits=({"name": "y"},)))
    if "edits" in change:
        with pytest.raises(PlanMismatch, match=words):  # of an edit that is no longer asked for as well
            keep_plan(run, wanted(AB, **change))


def test_many_differences_stay_one_short_line(tmp_path):
    keep_plan(str(tmp_path), wanted(AB))
    many = {f"n{i:04}": "1-1" for i in range(1000)}
    with pytest.raises(PlanMismatch, match="and 999 more") as caught:
        keep_plan(str(tmp_path), wanted(many), strict=True)
    assert len(str(caught.value)) < 400


def test_the_same_plan_is_continued(tmp_path):
    run = str(tmp_path / "run")
    assert load_plan(run) is None
    kept = keep_plan(run, wanted(AB))
    written = (tmp_path / "run" / "plan.json").stat()
    assert keep_plan(run, wanted(AB, edits=({"alpha": 2, "name": "x"},))) == replace(kept, continued=True)
    assert (tmp_path / "run" / "plan.json").stat().st_mtime_ns == written.st_mtime_ns
    assert sorted(os.listdir(run)) == ["plan", "plan.json"]


def test_of_runs_that_begin_at_once_one_wins(tmp_path):
    seeds = (1, 1, 2, 3)

    def begin(run: str, seed: int, barrier: threading.Barrier) -> str:
        barrier.wait(20)
        images = AB if seed == 1 else AB | {"c": "1-1"}
        try:
            return (
                "continued"
                if keep_plan(run, wanted(images, fingerprint={"seed": seed})).continued
                else "wrote"
            )
        except PlanMismatch:
            return "refused"

    with ThreadPoolExecutor(len(seeds)) as pool:
        for attempt in range(10):
            run, barrier = str(tmp_path / str(attempt)), threading.Barrier(len(seeds))
            jobs = [(seed, pool.submit(begin, run, seed, barrier)) for seed in seeds]
            found = [(seed, job.result()) for seed, job in jobs]
            (winner,) = [seed for seed, what in found if what == "wrote"]
            plan = load_plan(run)
            assert plan.fingerprint == {"seed": winner}
            assert all((what == "refused") == (seed != winner) for seed, what in found)
            # Whatever the others left, the winner's header leads to the winner's images.
            assert [shard_of(run, n).images[0].id for n in range(plan.shards)] == (
                ["a", "b"] if winner == 1 else ["a", "b", "c"]
            )


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


def test_damaged_and_lost_tables_are_named(tmp_path):
    run = str(tmp_path)
    kept = keep_plan(run, wanted(AB))
    file = tmp_path / kept.generation.table
    whole = file.read_bytes()
    place = whole.index(b"a.png")
    file.write_bytes(whole[:place] + b"b" + whole[place + 1 :])
    with pytest.raises(StoreCorrupt, match=r"plan/.*\.parquet is damaged"):
        shard_of(run, 0)
    with pytest.raises(StoreCorrupt, match="knows no shard 9"):
        shard_of(run, 9)


def test_impossible_plans_are_refused():
    table = images_table(["a", "b", "a"], ["x", "y", "z"], ["1", "1", "1"])
    with pytest.raises(StorageError, match="have the id 'a'"):
        replace(wanted(AB), images=table)
    with pytest.raises(StorageError, match="shard_size is 0"):
        wanted(AB, shard_size=0)


def test_what_is_left_is_done_where_the_images_are_now(tmp_path):
    run = str(tmp_path / "run")
    first = keep_plan(run, wanted(AB))
    moved = keep_plan(run, wanted(AB, root="/mnt"))
    assert moved.generation.run_id == first.generation.run_id == wanted(AB, root="/mnt").run_id
    assert [shard_of(run, n).images[0].path for n in moved.missing] == ["/mnt/a.png", "/mnt/b.png"]


def test_landmarks_are_part_of_an_image(tmp_path):
    points = np.array([[1.5, 2.0], [3.0, 4.25]])
    faces = [points, Unusable("NoLandmarks", "there are none")]

    def asked(faces: list[np.ndarray | Unusable]) -> Wanted:
        plain = wanted(AB)
        return replace(plain, images=with_faces(plain.images, faces), hashes=lambda ids, _: ["h"] * len(ids))

    run = str(tmp_path)
    keep_plan(run, asked(faces))
    first, second = (shard_of(run, number).images[0].face for number in (0, 1))
    np.testing.assert_array_equal(first, points)
    assert second == faces[1]
    grown = keep_plan(run, asked([points + 1, faces[1]]))
    assert grown.generation.changes["changed"] == 1


def test_a_half_finished_run_of_the_first_version_goes_on(tmp_path):
    run = str(tmp_path / "run")
    shutil.copytree(V1, run)
    plan = json.loads((V1 / "plan.json").read_text())
    before = read_metrics(run)
    assert before["generation"].tolist() == [0] * 4 and load_plan(run).run_id == before["run"][0]
    folder = list_images(str(tmp_path / "run" / "inputs"))
    asked = Wanted(
        folder.table, folder.root, tuple(plan["edits"]), 2, plan["fingerprint"],
        lambda _, names: [content_hash(path_of(folder.root, name)) for name in names],
    )  # fmt: skip
    kept = keep_plan(run, asked)
    left = [shard_of(run, number) for number in kept.missing]
    assert [image.id for shard in left for image in shard.images] == ["p2", "p3", "p4"]
    assert {shard.run_id for shard in left} == set(before["run"])
    assert keep_plan(run, asked).generation == kept.generation, "its files are looked at once"
    again = keep_plan(run, asked, retry_failed=True)
    retried = [image.id for number in again.missing for image in shard_of(run, number).images]
    assert retried == ["p1", "p2", "p3", "p4"]
    (tmp_path / "run" / "inputs" / "p0.png").write_bytes(b"x")
    folder = list_images(str(tmp_path / "run" / "inputs"))
    assert keep_plan(run, replace(asked, images=folder.table)).generation.changes["changed"] == 1
    assert len(generations_of(run)) == 4
    with pytest.raises(PlanMismatch, match="seed was 0, is 1"):
        keep_plan(run, replace(asked, fingerprint=plan["fingerprint"] | {"seed": 1}))
