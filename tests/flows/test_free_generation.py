"""Optimization as a method of the edit flow, mixed with directions; and pictures from words alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from tiny_bundle import write_pictures

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.grid import expand
from flows.forms.runs import EditParams, FreeParams
from flows.free_generation import free_generation
from storage import LatentStore, read_metrics
from storage.curves import read_curves
from styleclip.errors import BundleError
from tasks.edit.compile import compile_edits
from tasks.process.models import bundle, directions, store_of

pytestmark = pytest.mark.usefixtures("prefect_server")

RED = edit_form(
    name="red", target="a face with red hair", method="optimize", steps=6, lambda_id=0.1, keep_every=3
)
SMILE = edit_form(name="smile", target="a smiling face", alpha=4, channels=5)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 7)


def params(tiny: str, images: Path, output: Path, **changes: object) -> EditParams:
    values: dict[str, object] = {"shard_size": 4, "batch": 4, "edits": [RED, SMILE]} | changes
    return EditParams(bundle=tiny, device="cpu", images=str(images), output=str(output), **values)


def timeless(run: Path) -> pd.DataFrame:
    rows = read_metrics(str(run))
    columns = [name for name in rows.columns if not name.startswith("ms_") and name not in ("run", "batch")]
    return rows[columns].sort_values(["edit", "image_id"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def whole(tiny: str, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, edit(params(tiny, images, run))


def test_methods_mix_in_one_run_and_their_rows_in_one_table(whole):
    run, summary = whole
    rows = read_metrics(str(run)).set_index("edit")
    assert summary.rows == 14 and summary.failed == 0 and summary.halved_batches == {}
    assert set(rows.loc["red", "method"]) == {"optimize"} and set(rows.loc["smile", "method"]) == {"global"}
    assert set(rows.loc["red", "steps"]) == {6} and set(rows.loc["red", "lambda_id"]) == {0.1}
    assert rows.loc["smile", "steps"].isna().all() and rows.loc["red", "channels_used"].isna().all()
    assert (rows["delta_norm"] > 0).all() and rows["clip_gain"].notna().all()
    assert [line.method for line in summary.table] == ["optimize", "global"]
    assert len(list(run.glob("images/red/*.png"))) == 7


def test_every_step_of_every_image_is_in_the_curves_and_so_are_the_means(whole):
    curves = read_curves(str(whole[0]))
    single, mean = curves[curves["image_id"].notna()], curves[curves["image_id"].isna()]
    assert len(single) == 7 * 6 and len(mean) == 2 * 6 and set(curves["edit"]) == {"red"}
    assert mean.groupby("part")["images"].first().tolist() == [4, 3]
    first = single[single["part"] == "shard-00000"].groupby("step")["loss"].mean()
    np.testing.assert_allclose(mean[mean["part"] == "shard-00000"]["loss"], first)
    parts = single["clip_loss"] + 0.008 * single["l2_loss"] + 0.1 * single["identity_loss"]
    np.testing.assert_allclose(single["loss"], parts, rtol=1e-5)


def test_pictures_on_the_way_are_kept_when_asked_for(whole):
    assert sorted(path.name for path in whole[0].glob("steps/red/p000/*.png")) == ["0003.png"]


def test_batch_and_shard_size_change_no_number(whole, tiny, images, tmp_path):
    edit(params(tiny, images, tmp_path / "run", shard_size=1, batch=1))
    pd.testing.assert_frame_equal(timeless(whole[0]), timeless(tmp_path / "run"), rtol=1e-4, atol=1e-4)


def test_a_lost_shard_is_done_again_with_the_same_result(whole, tiny, images):
    run, _ = whole
    before, curves = timeless(run), read_curves(str(run))
    next(run.glob("metrics/**/shard-00001.parquet")).unlink()
    assert edit(params(tiny, images, run)).shards_done_before == 1
    pd.testing.assert_frame_equal(before, timeless(run))
    pd.testing.assert_frame_equal(curves, read_curves(str(run)))


def test_out_of_memory_halves_the_batch_of_the_edit_that_needs_it(whole, tiny, images, tmp_path):
    clip = bundle(tiny, "cpu").clip.model

    def full(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].requires_grad and len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("out of memory: two pictures with gradients fit, no more")

    hook = clip.visual.register_forward_pre_hook(full)
    try:
        summary = edit(params(tiny, images, tmp_path / "run"))
    finally:
        hook.remove()
    assert summary.failed == 0 and summary.halved_batches == {"red": 2}
    smile = [frame[frame["edit"] == "smile"] for frame in (timeless(whole[0]), timeless(tmp_path / "run"))]
    pd.testing.assert_frame_equal(*smile)


def test_an_image_whose_loss_is_no_number_is_a_failed_row(tiny, images, tmp_path):
    specs = [RED.model_copy(update={"learning_rate": 1e30, "keep_every": None}), SMILE]
    summary = edit(params(tiny, images, tmp_path / "run", edits=specs, max_failed_fraction=0.6))
    rows = read_metrics(str(tmp_path / "run")).set_index("edit")
    assert summary.failed == 7 and set(rows.loc["smile", "status"]) == {"ok"}
    assert set(rows.loc["red", "error_class"]) == {"NotFinite"}
    assert "learning_rate" in rows.loc["red", "reason"].iloc[0]
    assert not list((tmp_path / "run").glob("images/red/*.png"))


def test_weighing_identity_without_a_network_is_refused_before_anything_is_written(tiny, images, tmp_path):
    folder = Path(tiny).parent
    bare = folder / "bare.toml"
    bare.write_text(Path(tiny).read_text().replace('identity = {path = "identity.safetensors"}', ""))
    with pytest.raises(BundleError, match="names no identity network") as caught:
        edit(params(str(bare), images, tmp_path / "run"))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"method": "optimize", "beta": 0.1}, "'beta' belongs to the method global"),
        ({"method": "optimize", "alpha": 2}, "'alpha' belongs to the method global"),
        ({"steps": 10}, "'steps' belongs to the method optimize"),
        ({"method": "mapper"}, "mapper\n *Field required"),
        ({"method": "optimize", "torgb": True}, "needs space: s"),
        ({"method": "optimize", "lambda_l2": -1}, "greater than or equal to 0"),
        ({"method": "optimize", "channels": 5}, "needs space: s, without torgb"),
        ({"method": "optimize", "channels": 5, "space": "s", "torgb": True}, "needs space: s, without torgb"),
        ({"method": "optimize", "channels": -1, "space": "s"}, "greater than or equal to 0"),
        ({"method": "optimize", "clip_shift": 0.6}, "less than or equal to 0.5"),
    ],
)
def test_fields_of_other_methods_are_refused(fields, complaint):
    with pytest.raises(ValidationError, match=complaint):
        edit_form(target="a face with a hat", **fields)


def test_a_grid_over_the_pull_and_the_published_defaults():
    grid = expand([edit_form(target="a hat", method="optimize", lambda_l2=[0.008, 0.1])], "a face")
    assert [each.name for each in grid] == ["hat_l0.008", "hat_l0.1"]
    assert (grid[0].steps, grid[0].learning_rate, grid[0].space) == (300, 0.1, "w+")
    grid = expand([edit_form(target="a hat", method="optimize", space="s", channels=[5, 40])], "a face")
    assert [each.name for each in grid] == ["hat_l0.008_c5", "hat_l0.008_c40"]
    assert [each.channels for each in grid] == [5, 40]


def test_only_the_channels_of_the_words_move_when_so_many_are_asked_for(tiny, images, tmp_path):
    common = {"target": "a face with red hair", "method": "optimize", "space": "s", "steps": 6}
    specs = [
        edit_form(name="all", **common),
        edit_form(name="five", channels=5, in_sigma=True, latent_noise=0.5, clip_shift=0.1, **common),
    ]
    summary = edit(params(tiny, images, tmp_path / "run", edits=specs))
    rows = read_metrics(str(tmp_path / "run")).set_index("edit")
    assert summary.failed == 0
    assert set(rows.loc["five", "channels_used"]) == {5} and rows.loc["all", "channels_used"].isna().all()
    # the same in other batches, and another directions store makes another run
    edit(params(tiny, images, tmp_path / "again", edits=specs, shard_size=1, batch=1))
    pd.testing.assert_frame_equal(
        timeless(tmp_path / "run"), timeless(tmp_path / "again"), rtol=1e-4, atol=1e-4
    )
    words = expand(specs[1:], "a face")
    (five,) = compile_edits(tiny, "cpu", None, words)
    layout, known = bundle(tiny, "cpu").generator.layout, directions(store_of(tiny, "cpu", None), tiny, "cpu")
    strongest = (known.directions @ five.wording.direction).abs().topk(5).indices
    assert set(five.channels.tolist()) == set(layout.conv[strongest].tolist())
    assert five.fingerprint == {"directions": known.fingerprint}


def test_words_alone_give_a_picture_and_its_code(tiny, tmp_path):
    asked = FreeParams(
        bundle=tiny, device="cpu", output=str(tmp_path / "free"), steps=8,
        targets=["a face with red hair", "a smiling face"],
    )  # fmt: skip
    summary = free_generation(asked)
    assert summary.ok == 2 and all(Path(path).is_file() for path in summary.images)
    store = LatentStore.open(summary.latents)
    w_avg = bundle(tiny, "cpu").generator.w_avg.numpy()
    assert store.read().shape[0] == 2 and (np.abs(store.read() - w_avg).max(axis=(1, 2)) > 0).all()
    rows = read_metrics(str(tmp_path / "free"))
    assert set(rows["flow"]) == {"free-generation"} and set(rows["steps"]) == {8}
    assert len(read_curves(str(tmp_path / "free"))) == 16
    assert free_generation(asked).done_before
