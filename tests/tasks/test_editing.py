"""One shard of an edit run: what it keeps in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import write_pictures

import tasks.editing
from flows.edit_spec import EditSpec
from flows.edits import expand
from storage import read_metrics
from tasks.editing import edit_shard
from tasks.planning import EditJob, plan_edits

RED = [EditSpec(name="red", target="a face with red hair", channels=5)]


def edited(tiny: str, images: Path, run: Path, specs: list[EditSpec], **changes: object) -> dict[str, int]:
    """The first shard of a run, planned and done without its flow."""
    values: dict[str, object] = {"shard_size": 32, "batch": 4} | changes
    job = EditJob(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(run), directions=None,
        save_source=True, save_reconstruction=True, **values,
    )  # fmt: skip
    plan_edits.fn(job, expand(specs, "a face"))
    return edit_shard.fn(job, 0)


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
    rows_of = tasks.editing.edit_rows

    def watched(*args: object) -> object:
        found.append(live_bytes())
        return rows_of(*args)

    monkeypatch.setattr(tasks.editing, "edit_rows", watched)
    return found


def test_memory_grows_neither_with_the_shard_nor_with_the_edits(tiny, tmp_path, memory):
    folders = {count: write_pictures(tmp_path / f"images{count}", count) for count in (4, 12)}
    for images, edits in ((4, 1), (12, 1), (12, 6)):
        specs = [EditSpec(name=f"e{n}", target="a face with red hair", channels=1 + n) for n in range(edits)]
        specs += [EditSpec(name="o", target="a smiling face", method="optimize", steps=2, keep_every=1)]
        done = edited(tiny, folders[images], tmp_path / f"run{images}-{edits}", specs)
        assert done["ok"] == images * len(specs)
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
