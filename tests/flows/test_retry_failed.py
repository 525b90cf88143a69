"""Failed rows are done again after their files were mended, under the same plan and the same run id."""

from __future__ import annotations

import pytest
from tiny_bundle import as_png, picture, write_pictures

from flows.forms.edits import edit_form
from flows.forms.grid import expand
from storage import LatentStore, read_metrics
from storage.errors import PlanMismatch
from tasks.edit.plan import plan_edits
from tasks.edit.shard import edit_shard
from tasks.invert import invert_shard, plan_inversion
from tasks.jobs import EditJob, InvertJob

EDITS = expand(
    [edit_form(target="a smiling face", alpha=4), edit_form(target="a face with a hat", alpha=4)], "a face"
)


def test_edit(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 4)
    broken = sorted(images.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:60])
    common = dict(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(tmp_path / "run"), directions=None,
        shard_size=2, batch=2, save_source=False, save_reconstruction=False,
    )  # fmt: skip
    job, retry = EditJob(**common), EditJob(**common, retry_failed=True)
    for shard in plan_edits.fn(job, EDITS).missing:
        edit_shard(job, shard)
    before = read_metrics(job.output)
    assert (before["status"] == "failed").sum() == 2
    assert plan_edits.fn(retry, EDITS).missing == [0]

    whole = as_png(picture(77))
    broken.write_bytes(whole)
    with pytest.raises(PlanMismatch, match="the content of image"):
        plan_edits.fn(job, EDITS)
    sound = sorted(images.iterdir())[0]
    kept = sound.read_bytes()
    sound.write_bytes(whole)
    with pytest.raises(PlanMismatch, match=f"the content of image '{sound.stem}'"):
        plan_edits.fn(retry, EDITS)
    sound.write_bytes(kept)

    for shard in plan_edits.fn(retry, EDITS).missing:
        edit_shard(retry, shard)
    after = read_metrics(job.output)
    assert set(after["status"]) == {"ok"} and len(after) == len(before)
    assert set(after["run"]) == set(before["run"])
    mended = after["image_id"] == broken.stem
    assert mended.sum() == 2 and not set(after["input_hash"][mended]) & set(before["input_hash"])
    assert plan_edits.fn(job, EDITS).missing == plan_edits.fn(retry, EDITS).missing == []


def test_invert(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    broken = sorted(images.iterdir())[0]
    broken.write_bytes(b"")
    job, retry = (
        InvertJob(
            bundle=tiny, device="cpu", seed=0, images=str(images), output=str(tmp_path / "run"), shard_size=1,
            save_reconstruction=False, retry_failed=again,
        )
        for again in (False, True)
    )  # fmt: skip
    for shard in plan_inversion.fn(job).missing:
        invert_shard(job, shard)
    broken.write_bytes(as_png(picture(5)))
    assert plan_inversion.fn(retry).missing == [0]
    invert_shard(retry, 0)
    assert set(read_metrics(job.output)["status"]) == {"ok"}
    assert plan_inversion.fn(job).missing == []
    assert len(LatentStore.open(job.latents).ids) == 2
