"""A run goes on over a changed folder: mended files, new ones, failed rows when that is asked for; nothing twice."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
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
MEASURES = ["clip_before", "clip_after", "identity_reconstruction_edit", "delta_norm"]


def edit_job(tiny: str, images: Path, run: Path, **changes: object) -> EditJob:
    return EditJob(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(run), directions=None,
        shard_size=2, batch=2, save_source=False, save_reconstruction=False, **changes,
    )  # fmt: skip


def done(job: EditJob, edits: list = EDITS) -> int:
    """Rows that a call of the same command makes."""
    results = [edit_shard(job, shard) for shard in plan_edits.fn(job, edits).missing]
    return sum(result.ok + result.failed for result in results)


def test_edit(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 4), tmp_path / "run"
    broken = sorted(images.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:60])
    job = edit_job(tiny, images, run)
    assert done(job) == 8
    before = read_metrics(job.output)
    assert (before["status"] == "failed").sum() == 2
    assert done(job) == 0
    assert done(edit_job(tiny, images, run, retry_failed=True)) == 2, (
        "both cells of the broken one, and no other"
    )

    broken.write_bytes(as_png(picture(77)))
    sorted(images.iterdir())[3].unlink()
    (images / "q.png").write_bytes(as_png(picture(78)))
    with pytest.raises(
        PlanMismatch, match="image 'p003' is gone; image 'q' is new; the content of image 'p001'"
    ):
        plan_edits.fn(edit_job(tiny, images, run, strict=True), EDITS)
    assert done(job) == 4 and done(job, EDITS[:1]) == 0
    more = [*EDITS, *expand([edit_form(target="a face with red hair")], "a face")]
    assert done(job, more) == 4

    fresh = edit_job(tiny, images, tmp_path / "fresh")
    done(fresh, more)
    found, wanted = (
        read_metrics(each.output).sort_values(["image_id", "edit"]).reset_index(drop=True)
        for each in (job, fresh)
    )
    same = ["image_id", "edit", "status", "input_hash", "path", "output", "seed", "method"]
    assert found[same].equals(wanted[same]) and len(found) == 12
    np.testing.assert_allclose(found[MEASURES].astype(float), wanted[MEASURES].astype(float), atol=1e-4)
    assert found["run"].nunique() == 1 and set(found["generation"]) == {0, 2, 4}
    pictures = [
        {output: hashlib.sha256((root / output).read_bytes()).hexdigest() for output in found["output"]}
        for root in (run, tmp_path / "fresh")
    ]
    assert pictures[0] == pictures[1]


def test_invert_and_the_edits_of_its_codes(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    broken = sorted(images.iterdir())[0]
    broken.write_bytes(b"")
    job = InvertJob(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(tmp_path / "run"), shard_size=2,
        save_reconstruction=False,
    )  # fmt: skip

    def inverted() -> int:
        shards = plan_inversion.fn(job).missing
        return sum(result.ok + result.failed for result in (invert_shard(job, shard) for shard in shards))

    assert inverted() == 3 and inverted() == 0
    codes = edit_job(tiny, Path(job.latents), tmp_path / "edited")
    assert done(codes) == 6
    before = LatentStore.open(job.latents).read(["p001"])
    broken.write_bytes(as_png(picture(5)))
    (images / "p002.png").unlink()
    (images / "z.png").write_bytes(as_png(picture(6)))
    assert inverted() == 2 and inverted() == 0
    store = LatentStore.open(job.latents)
    assert store.ids == ["p000", "p001", "z"] and store.ok.all()
    np.testing.assert_array_equal(store.read(["p001"]), before)
    assert set(read_metrics(job.output)["status"]) == {"ok"}
    assert done(codes) == 4, "the codes that are new, and no other"
    rows = read_metrics(codes.output)
    assert sorted(set(rows["image_id"])) == store.ids and set(rows["status"]) == {"ok"}
