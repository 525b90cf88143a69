"""Shards of an inversion: what fits is done whatever the batch, and codes belong to their run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_bundle import write_pictures

import tasks.invert
from storage import read_metrics
from storage.errors import PlanMismatch
from storage.latents import LatentStore
from tasks.invert import invert_shard, plan_inversion
from tasks.jobs import InvertJob
from tasks.process.plans import ShardDone


def job_of(tiny: str, images: Path, run: Path, **changes: object) -> InvertJob:
    values: dict[str, object] = {"shard_size": 2, "batch": 4, "save_reconstruction": False} | changes
    return InvertJob(bundle=tiny, device="cpu", seed=0, images=str(images), output=str(run), **values)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_device_that_fits_one_image_at_a_time_inverts_all_of_them(tiny, tmp_path, monkeypatch, batch):
    invert = tasks.invert.invert_images

    def limited(models, images, refine_steps, halvings):
        if tasks.invert.pass_size(models.generator) >> halvings > 1:
            raise torch.OutOfMemoryError("injected: a pass of more than one image")
        return invert(models, images, refine_steps, halvings)

    monkeypatch.setattr(tasks.invert, "invert_images", limited)
    job = job_of(tiny, write_pictures(tmp_path / "images", 2), tmp_path / "run", batch=batch)
    plan_inversion.fn(job)
    assert invert_shard(job, 0) == ShardDone(0, ok=2, failed=0)


def test_codes_that_were_deleted_are_made_again(tiny, tmp_path):
    job = job_of(tiny, write_pictures(tmp_path / "images", 3), tmp_path / "run")
    for shard in plan_inversion.fn(job).missing:
        invert_shard(job, shard)
    codes = LatentStore.open(job.latents).read()
    assert plan_inversion.fn(job).missing == []
    shutil.rmtree(job.latents)
    assert plan_inversion.fn(job).missing == [0, 1]
    for shard in (0, 1):
        invert_shard(job, shard)
    assert (LatentStore.open(job.latents).read() == codes).all() and len(read_metrics(job.output)) == 3


def test_codes_of_another_run_do_not_get_these_names(tiny, tmp_path):
    job = job_of(tiny, write_pictures(tmp_path / "images", 3), tmp_path / "run")
    plan_inversion.fn(job)
    (tmp_path / "run" / "plan.json").unlink()
    (tmp_path / "images" / "p000.png").rename(tmp_path / "images" / "q000.png")
    with pytest.raises(PlanMismatch, match="codes of another run"):
        plan_inversion.fn(job)


def test_a_code_that_is_no_number_is_one_failed_row(tiny, tmp_path, monkeypatch):
    invert = tasks.invert.invert_images

    def spoilt(*arguments):
        w = invert(*arguments)
        w[1] = torch.nan
        return w

    monkeypatch.setattr(tasks.invert, "invert_images", spoilt)
    job = job_of(tiny, write_pictures(tmp_path / "images", 2), tmp_path / "run", save_reconstruction=True)
    plan_inversion.fn(job)
    assert invert_shard(job, 0) == ShardDone(0, ok=1, failed=1)
    rows = read_metrics(job.output).set_index("image_id")
    assert rows.loc["p001", "error_class"] == "NotFinite" and rows.loc["p000", "status"] == "ok"
    assert [path.stem for path in (tmp_path / "run" / "images" / "reconstruction").iterdir()] == ["p000"]
