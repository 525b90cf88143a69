"""One shard of an edit run: what it keeps in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_bundle import write_pictures

import tasks.edit.shard
from flows.forms.edits import AnyForm, edit_form
from flows.forms.grid import expand
from storage import LatentStore, read_metrics
from tasks.edit.plan import plan_edits
from tasks.edit.shard import edit_shard
from tasks.jobs import EditJob
from tasks.process.models import bundle
from tasks.process.plans import ShardDone, plan_of

RED = [edit_form(name="red", target="a face with red hair", alpha=4, channels=5)]


def planned(tiny: str, images: Path | str, run: Path, specs: list[AnyForm], **changes: object) -> EditJob:
    """The job of a run that is planned without its flow."""
    values: dict[str, object] = {
        "shard_size": 32, "batch": 4, "save_source": True, "save_reconstruction": True,
    } | changes  # fmt: skip
    job = EditJob(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(run), directions=None,
        **values,
    )  # fmt: skip
    plan_edits.fn(job, expand(specs, "a face"))
    return job


def edited(tiny: str, images: Path, run: Path, specs: list[AnyForm], **changes: object) -> ShardDone:
    """The first shard of a run, planned and done without its flow."""
    return edit_shard(planned(tiny, images, run, specs, **changes), 0)


def live_bytes() -> int:
    """Bytes of all tensors that somebody holds."""
    gc.collect()
    found = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return sum(
        {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in found}.values()
    )


@pytest.fixture
def memory(monkeypatch) -> list[int]:
    """Bytes alive when the rows of a shard are made, shard by shard."""
    found: list[int] = []
    rows_of = tasks.edit.shard.edit_rows

    def watched(*args: object) -> object:
        found.append(live_bytes())
        return rows_of(*args)

    monkeypatch.setattr(tasks.edit.shard, "edit_rows", watched)
    return found


def test_memory_grows_neither_with_the_shard_nor_with_the_edits(tiny, tmp_path, memory):
    folders = {count: write_pictures(tmp_path / f"images{count}", count) for count in (4, 12)}
    for images, edits in ((4, 1), (12, 1), (12, 6)):
        specs = [
            edit_form(name=f"e{n}", target="a face with red hair", alpha=4, channels=1 + n)
            for n in range(edits)
        ]
        specs += [edit_form(name="o", target="a smiling face", method="optimize", steps=2, keep_every=1)]
        done = edited(tiny, folders[images], tmp_path / f"run{images}-{edits}", specs)
        assert done.ok == images * len(specs)
    one_picture = 3 * 16 * 16 * 4
    assert max(memory) - min(memory) < 12 * one_picture, memory


def test_pictures_are_made_in_the_precision_that_is_asked_for(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    gain = {}
    for precision in ("float32", "tf32", "bfloat16"):
        edited(tiny, images, tmp_path / precision, RED, precision=precision)
        gain[precision] = read_metrics(str(tmp_path / precision))["clip_after"].to_numpy()
    assert np.array_equal(gain["float32"], gain["tf32"])  # a CPU has no TF32
    assert 1e-6 < np.abs(gain["float32"] - gain["bfloat16"]).max() < 1e-2


def test_numbers_that_are_none_are_failed_rows_and_no_pictures(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    specs = [RED[0], RED[0].model_copy(update={"name": "huge", "alpha": 1e30})]
    done = edited(tiny, images, tmp_path / "run", specs)
    rows = read_metrics(str(tmp_path / "run")).set_index("edit")
    assert done.failed == 2 and (rows.loc["huge", "error_class"] == "NotFinite").all()
    assert rows.loc["huge", "clip_after"].isna().all() and (rows.loc["red", "status"] == "ok").all()
    assert not list((tmp_path / "run" / "images").glob("huge/*"))


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), [1.0, -float("inf")]])
def test_a_strength_is_a_finite_number(alpha):
    with pytest.raises(ValidationError):
        edit_form(target="a face with red hair", alpha=alpha)


def test_a_file_that_changed_after_the_plan_is_not_edited_under_the_old_hash(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    job = planned(tiny, images, tmp_path / "run", RED)
    (images / "p001.png").write_bytes((images / "p002.png").read_bytes())
    edit_shard(job, 0)
    rows = read_metrics(str(tmp_path / "run")).set_index("image_id")
    assert rows["status"].to_dict() == {"p000": "ok", "p001": "failed", "p002": "ok"}
    assert rows.loc["p001", "error_class"] == "Changed"
    assert "run the same command again" in rows.loc["p001", "reason"]
    for shard in plan_edits.fn(job, expand(RED, "a face")).missing:
        assert edit_shard(job, shard).ok == 1
    again = read_metrics(str(tmp_path / "run")).set_index("image_id")
    assert set(again["status"]) == {"ok"} and again["generation"].to_dict() == {
        "p000": 0,
        "p001": 1,
        "p002": 0,
    }


def test_codes_that_changed_after_the_plan_are_not_edited(tiny, tmp_path):
    models, ids = bundle(tiny, "cpu"), ["a", "b"]
    shape = (models.generator.num_ws, models.generator.w_dim)
    attrs = {"weights": {"generator": models.fingerprint["generator"]}}
    store = LatentStore.create(str(tmp_path / "codes.zarr"), ids, *shape, attrs, 2)
    codes = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    store.write_shard(0, codes, np.ones(2, bool))
    job = planned(tiny, store.uri, tmp_path / "run", RED, save_source=False)
    store.write_shard(0, codes * [[[1]], [[2]]], np.ones(2, bool))
    edit_shard(job, 0)
    rows = read_metrics(str(tmp_path / "run")).set_index("image_id")
    # The file of both codes was written again; which of them changed is found out when the run goes on.
    assert set(rows["error_class"]) == {"Changed"}
    for shard in plan_edits.fn(job, expand(RED, "a face")).missing:
        edit_shard(job, shard)
    assert set(read_metrics(str(tmp_path / "run"))["status"]) == {"ok"}
    store.write_shard(0, codes * [[[1]], [[3]]], np.ones(2, bool))
    (shard,) = plan_edits.fn(job, expand(RED, "a face")).missing
    assert edit_shard(job, shard).ok == 1, "the code that is as it was is not edited again"


def test_words_that_clip_has_never_seen_stand_in_the_rows(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 1)
    strange = edit_form(name="strange", target="a face with a zyzzyva", alpha=4, channels=5)
    edited(tiny, images, tmp_path / "run", [*RED, strange])
    rows = read_metrics(str(tmp_path / "run")).set_index("edit")
    assert rows.loc["strange", "unknown_words"] == "zyzzyva" and rows["unknown_words"].isna()["red"]


def test_words_alone_tell_the_strength_that_they_took(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    done = edited(tiny, images, tmp_path / "run", [*RED, edit_form(name="alone", target="a smiling face")])
    assert done.failed == 0
    rows = read_metrics(str(tmp_path / "run")).set_index("edit")
    alone, red = rows.loc[["alone"]], rows.loc[["red"]]
    assert alone["alpha"].between(0, 13.2).all() and alone["aim"].nunique() == 1
    assert (alone["reached"] == (alone["reached_value"] >= alone["aim"])).all()
    assert (alone["delta_norm"] > 0).tolist() == (alone["alpha"] > 0).tolist()
    assert (
        set(alone["channels_used"]) <= {2, 4, 8, 16, 32}
        and alone["channels_why"].str.contains("samples").all()
    )
    assert (red["alpha"] == 4).all() and red[["aim", "reached", "channels_why"]].isna().all(axis=None)
    assert [edit["channels"] for edit in plan_of(str(tmp_path / "run")).edits] == [
        5,
        alone["channels_used"].iloc[0],
    ]
