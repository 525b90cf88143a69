"""What stands in examples/ runs, and does what the flows do."""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import write_pictures

from avatars.world.samples import write_images
from flows.forms.files import read_edits
from flows.forms.grid import expand
from storage import DirectionStore, read_metrics
from styleclip import load_bundle
from styleclip.directions import ChannelDirections
from styleclip.methods import METHODS, Edit, Edited, GlobalEdit, MapperEdit, Method, OptimizeEdit
from styleclip.methods.pictures import edit_picture
from styleclip.methods.words import embed_words
from tasks.edit.plan import plan_edits
from tasks.edit.shard import edit_shard
from tasks.jobs import EditJob

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_of(tiny: str, images: Path, run: Path, edits: list[Edit]) -> None:
    """One shard, planned and done without its flow."""
    job = EditJob(
        bundle=tiny, device="cpu", seed=0, images=str(images), output=str(run), directions=None, shard_size=8,
        batch=4, save_source=False, save_reconstruction=False,
    )  # fmt: skip
    plan_edits.fn(job, edits)
    edit_shard(job, 0)


def test_the_script_edits_a_picture(tmp_path, monkeypatch):
    (picture,) = write_images(tmp_path, 1, seed=5)
    monkeypatch.setattr(sys, "argv", ["edit", str(picture), str(tmp_path / "edited.png")])
    runpy.run_path(str(EXAMPLES / "edit_one_picture.py"))
    before, after = (np.asarray(Image.open(each)).astype(int) for each in (picture, tmp_path / "edited.png"))
    assert before.shape == after.shape and np.abs(after - before).max() > 60


def test_the_edits_file_is_one():
    edits = expand(read_edits(EXAMPLES / "edits.yaml"), "a face")
    assert {edit.method for edit in edits} == {"global", "mapper", "optimize"} and len(edits) == 8


@pytest.mark.parametrize(
    "edit",
    [
        GlobalEdit(name="x", target="a face with red hair", alpha=3, channels=5),
        OptimizeEdit(name="x", target="a face with red hair", steps=4, learning_rate=0.02),
    ],
    ids=lambda edit: edit.method,
)
def test_a_notebook_makes_the_picture_of_the_flow(tiny, tmp_path, edit):
    images = write_pictures(tmp_path / "images", 1)
    run_of(tiny, images, tmp_path / "run", [edit])
    models = load_bundle(tiny, device="cpu")
    directions = ChannelDirections.of(DirectionStore.open(str(models.directions)), models)
    ours = edit_picture(Image.open(images / "p000.png"), edit, models, directions)
    theirs = Image.open(tmp_path / "run" / "images" / "x" / "p000.png")
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 1


def test_a_shipped_mapper_works_in_a_notebook(tmp_path):
    (picture,) = write_images(tmp_path, 1, seed=5)
    edited = edit_picture(
        Image.open(picture), MapperEdit(mapper="beard"), load_bundle("avatars", device="cpu")
    )
    assert edited.size == (64, 64)


@dataclass(frozen=True, kw_only=True)
class Brighter(Edit):
    """A toy: the picture of a longer style vector."""

    method: str = "brighter"
    alpha: float = 1.0


@dataclass(frozen=True)
class CompiledBrighter:
    edit: Brighter
    wording: Any

    @property
    def columns(self) -> dict[str, Any]:
        return {"alpha": self.edit.alpha}

    @property
    def fingerprint(self) -> dict[str, str]:
        return {}

    def apply(self, models: Any, batch: Any) -> Edited:
        styles = batch.s * (1 + self.edit.alpha)
        return Edited(models.generator.synthesize(styles), styles)


def test_a_method_of_ones_own_is_a_class_and_a_line_in_the_registry(tiny, tmp_path, monkeypatch):
    compile_toy = lambda setting, edit: CompiledBrighter(edit, embed_words(setting.models, edit))  # noqa: E731
    monkeypatch.setitem(METHODS, "brighter", Method(Brighter, compile_toy))
    toy = Brighter(name="toy", target="a face with red hair", neutral="a face", alpha=0.5)
    run_of(tiny, write_pictures(tmp_path / "images", 2), tmp_path / "run", [toy])
    rows = read_metrics(str(tmp_path / "run"))
    assert (
        (rows["status"] == "ok").all() and set(rows["method"]) == {"brighter"} and set(rows["alpha"]) == {0.5}
    )
    assert (tmp_path / "run" / "images" / "toy" / "p001.png").exists()
