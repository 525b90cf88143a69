"""A run that grows: whatever happened on the way, its present state is that of a fresh run over the last folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.growth import Kept, Wanted, keep_plan
from storage.images_table import images_table
from storage.metrics import finished_shards, write_shard
from storage.plan import generations_of, shard_of
from storage.reading import read_metrics

IDS = "abcdefg"
EDITS = ("x", "y", "z")
Folder = dict[str, tuple[int, int]]
"""id → (content, time of the last change)"""


def wanted(folder: Folder, edits: list[str], shard_size: int = 2, **fingerprint: object) -> Wanted:
    """What a run over this folder is asked for; contents are all of one size, as the meanest case."""
    ids = list(folder)
    contents = {id_: f"c{content}" for id_, (content, _) in folder.items()}
    return Wanted(
        images_table(ids, [f"{id_}.png" for id_ in ids], [f"3-{time}" for _, time in folder.values()]),
        "/in", tuple({"name": name, "alpha": 1} for name in edits), shard_size,
        {"flow": "edit", "seed": 1, "edits": {name: {"w": name} for name in edits}} | fingerprint,
        lambda ids, _: [contents[id_] for id_ in ids],
    )  # fmt: skip


def work(
    run: str, number: int, folder: Folder, broken: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """Do a shard as a worker does; the cells that it made. Contents of multiples of 3 fail, and `broken` for now."""
    planned = shard_of(run, number)
    rows = []
    for image in planned.images:
        content, time = folder.get(image.id, (0, -1))
        same = image.version == f"3-{time}"
        bad = not same or content % 3 == 0 or image.id in broken
        rows += [
            {
                "image_id": image.id, "path": image.path, "edit": edit, "generation": planned.generation,
                "input_hash": f"c{content}" if same else "unreadable",
                "status": "failed" if bad else "ok", "error_class": "Bad" if bad else None,
                "clip_gain": None if bad else float(content),
            }
            for edit in planned.names
        ]  # fmt: skip
    write_shard(run, "edit", planned.run_id, number, rows)
    return [(row["image_id"], row["edit"]) for row in rows]


def state(run: str, **how: object) -> list[tuple[object, ...]]:
    rows = read_metrics(run, ["image_id", "edit", "status", "clip_gain", "input_hash"], **how)
    return sorted(
        map(tuple, rows.astype({"clip_gain": object}).replace({np.nan: None}).to_numpy().tolist()), key=str
    )


def finish(
    run: str, plan: Kept, folder: Folder, broken: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    return [cell for number in plan.missing for cell in work(run, number, folder, broken)]


folders = st.dictionaries(st.sampled_from(IDS), st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1)
steps = st.lists(
    st.tuples(
        folders,
        st.lists(st.sampled_from(EDITS), min_size=1, unique=True),
        st.integers(0, 6),  # shards that are done before the run is killed
        st.frozensets(st.sampled_from(IDS), max_size=2),  # images that fail this time
        st.booleans(),  # retry failed
    ),
    min_size=1,
    max_size=5,
)
counter = itertools.count()


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_any_history_ends_as_a_fresh_run(steps):
    run, fresh = (f"memory://growth/{name}{next(counter)}" for name in ("run", "fresh"))
    folder: Folder = {}
    seen: Folder = {}
    for now, edits, killed_after, broken, retry in steps:
        # A file whose content is another one has another time; one may be touched and have the same.
        folder = {}
        for id_, (content, touched) in now.items():
            before, time = seen.get(id_, (content, 0))
            folder[id_] = content, time + (10 if content != before else touched)
        seen |= folder
        plan = keep_plan(run, wanted(folder, edits), retry_failed=retry)
        for number in plan.missing[:killed_after]:
            work(run, number, folder, broken)
    finish(run, keep_plan(run, wanted(folder, edits), retry_failed=True), folder)
    # What failed for a moment within the last attempt is tried once more.
    finish(run, keep_plan(run, wanted(folder, edits), retry_failed=True), folder)
    finish(fresh, keep_plan(fresh, wanted(folder, edits)), folder)
    assert state(run) == state(fresh)
    again = keep_plan(run, wanted(folder, edits))
    assert again.continued and again.missing == [], "nothing is left to do, and nothing is done again"
    rows = read_metrics(run, ["image_id", "edit", "state", "generation"], generations="all")
    assert (rows["state"] == "present").sum() == len(state(fresh))


FOLDER: Folder = {"a": (1, 0), "b": (2, 0), "c": (0, 0), "d": (4, 0), "e": (5, 0)}


@pytest.fixture
def done(tmp_path) -> str:
    run = str(tmp_path / "run")
    first = keep_plan(run, wanted(FOLDER, ["x", "y"]))
    assert not first.continued and first.missing == [0, 1, 2]
    finish(run, first, FOLDER)
    return run


def test_only_what_is_new_is_done(done):
    folder = FOLDER | {"b": (7, 1), "f": (8, 0)}
    del folder["a"]
    plan = keep_plan(done, wanted(folder, ["x", "y"]))
    assert plan.generation.changes == {"new": 1, "changed": 1, "same": 0, "removed": 1}
    assert finish(done, plan, folder) == [("b", "x"), ("b", "y"), ("f", "x"), ("f", "y")]
    rows = read_metrics(done).set_index(["image_id", "edit"])
    assert (
        len(rows) == 10
        and rows.loc[("b", "x"), "generation"] == 1
        and rows.loc[("d", "x"), "generation"] == 0
    )
    every = read_metrics(done, generations="all")
    marks = every.groupby("image_id")["state"].agg(set)
    assert marks["a"] == {"removed"} and marks["b"] == {"present", "superseded"} and marks["d"] == {"present"}


def test_a_new_edit_adds_its_cells_only_and_one_that_is_dropped_is_kept(done):
    plan = keep_plan(done, wanted(FOLDER, ["y", "z"]))
    assert {edit for _, edit in finish(done, plan, FOLDER)} == {"z"}
    assert set(read_metrics(done)["edit"]) == {"y", "z"}
    dropped = read_metrics(done, generations="all").groupby("edit")["state"].agg(set)
    assert dropped["x"] == {"dropped"}
    back = keep_plan(done, wanted(FOLDER, ["x", "y", "z"]))
    assert back.missing == [] and set(read_metrics(done)["edit"]) == {"x", "y", "z"}


def test_failed_cells_are_tried_again_when_that_is_asked_for_and_mended_files_always(done):
    assert keep_plan(done, wanted(FOLDER, ["x", "y"])).missing == []
    retried = keep_plan(done, wanted(FOLDER, ["x", "y"]), retry_failed=True)
    assert finish(done, retried, FOLDER) == [("c", "x"), ("c", "y")]
    mended = FOLDER | {"c": (10, 1)}
    finish(done, keep_plan(done, wanted(mended, ["x", "y"])), mended)
    assert set(read_metrics(done)["status"]) == {"ok"}


def test_files_that_were_copied_are_the_same_and_looked_at_once(done):
    copied = {id_: (content, 77) for id_, (content, _) in FOLDER.items()}
    assert keep_plan(done, wanted(copied, ["x", "y"])).missing == []
    refused = wanted(copied, ["x", "y"])
    object.__setattr__(refused, "hashes", None)
    assert keep_plan(done, refused).missing == []


def test_rows_are_read_lazily_and_by_columns(done):
    finish(done, keep_plan(done, wanted(FOLDER | {"b": (7, 1)}, ["x", "y"])), FOLDER | {"b": (7, 1)})
    eager = read_metrics(done)
    lazy = read_metrics(done, lazy=True)
    assert list(lazy.columns) == list(eager.columns)
    assert lazy.dtypes["reached"] == "boolean" and lazy.dtypes["generation"] == "Int64"
    for column in ("image_id", "edit", "status", "clip_gain", "generation", "run"):
        assert lazy[column].compute().fillna(-1).tolist() == eager[column].fillna(-1).tolist()
    assert lazy["clip_gain"].mean().compute() == pytest.approx(eager["clip_gain"].mean())
    some = read_metrics(done, ["clip_gain", "run"])
    pd.testing.assert_frame_equal(some, eager[["clip_gain", "run"]])
    with pytest.raises(StorageError, match="no column shoe_size"):
        read_metrics(done, ["shoe_size"])
    with pytest.raises(StorageError, match="'present' or 'all'"):
        read_metrics(done, generations="some")


def test_a_lost_commit_is_done_again_in_any_generation(done):
    folder = FOLDER | {"f": (8, 0)}
    finish(done, keep_plan(done, wanted(folder, ["x", "y"])), folder)
    before = state(done)
    run_id = generations_of(done)[0].run_id
    next(Path(done).glob("metrics/**/shard-00001.parquet")).unlink()
    assert finished_shards(done, "edit", run_id) == {0, 2, 3}
    finish(done, keep_plan(done, wanted(folder, ["x", "y"])), folder)
    assert state(done) == before
