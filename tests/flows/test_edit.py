"""The edit flow on tiny networks: rows, images, resuming, bad input."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_bundle import SIZE, write_pictures

from flows.common.outcome import RunFailed
from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams, InvertParams
from flows.invert import invert
from storage import read_metrics
from storage.errors import PlanMismatch, StorageError
from styleclip.errors import BundleError, EditError, PromptError

SPECS = [
    edit_form(target="a face with red hair", alpha=4, channels=5),
    edit_form(name="smile", target="a smiling face", alpha=[2, 4], channels=[3, 10]),
]
pytestmark = pytest.mark.usefixtures("prefect_server")


def params(tiny: str, images: Path, output: Path, **changes: object) -> EditParams:
    values: dict[str, object] = {"shard_size": 4, "batch": 3, "edits": SPECS} | changes
    return EditParams(bundle=tiny, device="cpu", images=str(images), output=str(output), **values)


def pictures_of(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("images/**/*.png"))}


def rows_of(run: Path) -> pd.DataFrame:
    rows = read_metrics(str(run))
    timeless = [column for column in rows.columns if not column.startswith("ms_")]
    return rows[timeless].sort_values(["image_id", "edit"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 10)


@pytest.fixture(scope="module")
def whole(tiny: str, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """One uninterrupted run that the tests of this module look at."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, edit(params(tiny, images, run, save_source=True))


def test_every_image_and_edit_has_a_row_and_a_picture(whole):
    run, summary = whole
    rows = rows_of(run)
    assert len(rows) == summary.rows == 10 * 5 and summary.failed == 0
    assert set(rows["status"]) == {"ok"} and set(rows["flow"]) == {"edit"}
    assert list(rows["edit"].unique()) == [
        "red-hair",
        "smile_a2_c10",
        "smile_a2_c3",
        "smile_a4_c10",
        "smile_a4_c3",
    ]
    assert set(rows.groupby("edit")["channels_used"].first()) == {3, 5, 10}
    for output in rows["output"]:
        with Image.open(run / output) as picture:
            assert picture.size == (SIZE, SIZE)
    assert len(pictures_of(run)) == 10 * (5 + 2)
    measured = rows[["clip_gain", "directional_similarity", "identity_reconstruction_edit", "clipped_share"]]
    assert np.isfinite(measured.to_numpy(float)).all()
    assert (rows["distance_reconstruction_edit"] > 0).all()


def test_a_stronger_edit_moves_more_pixels(whole):
    table = {line.edit: line for line in whole[1].table}
    assert table["smile_a4_c3"].pixels > table["smile_a2_c3"].pixels


def test_the_grid_is_a_small_picture_in_the_run_folder(whole):
    run, _ = whole
    with Image.open(run / "grid.jpg") as grid:
        assert grid.width > grid.height > 100
    assert (run / "grid.jpg").stat().st_size < 500_000


def test_a_finished_run_is_not_done_again(whole, tiny, images):
    run, _ = whole
    times = {path: path.stat().st_mtime_ns for path in run.glob("images/**/*.png")}
    again = edit(params(tiny, images, run, save_source=True))
    assert again.shards_done_before == again.shards == 3 and again.rows == 50
    assert times == {path: path.stat().st_mtime_ns for path in run.glob("images/**/*.png")}


def test_a_lost_shard_is_done_again_with_the_same_result(whole, tiny, images, tmp_path):
    run, _ = whole
    rows, pictures = rows_of(run), pictures_of(run)
    (lost,) = run.glob("metrics/**/shard-00001.parquet")
    lost.unlink()
    (run / "images" / "red-hair" / "p005.png").unlink()
    summary = edit(params(tiny, images, run, save_source=True))
    assert summary.shards_done_before == 2
    pd.testing.assert_frame_equal(rows, rows_of(run))
    assert pictures == pictures_of(run)


def test_another_run_is_kept_out_of_the_folder(whole, tiny, images):
    run, _ = whole
    with pytest.raises(PlanMismatch, match="belongs to another run") as caught:
        edit(params(tiny, images, run, save_source=True, seed=1))
    assert "\n" not in str(caught.value)
    with pytest.raises(PlanMismatch, match=r"edits\."):
        edit(params(tiny, images, run, save_source=True, edits=SPECS[:1], strict=True))
    with pytest.raises(PlanMismatch, match="shard_size"):
        edit(params(tiny, images, run, save_source=True, shard_size=5, strict=True))


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({"target": "a hat " * 40}, PromptError, "shorten it"),
        ({"target": "a smiling face", "beta": 1.0}, EditError, "leaves no channel"),
        ({"target": "a face"}, PromptError, "the same to this CLIP"),
    ],
)
def test_impossible_edits_are_one_line_before_anything_is_written(tiny, images, tmp_path, spec, error, words):
    run = tmp_path / "run"
    with pytest.raises(error, match=words) as caught:
        edit(params(tiny, images, run, edits=[edit_form(name="x", **spec)]))
    assert "edit 'x'" in str(caught.value) and "\n" not in str(caught.value)
    assert not run.exists()


def test_an_empty_folder_and_an_unknown_bundle_are_one_line(tiny, images, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no PNG"):
        edit(params(tiny, tmp_path / "empty", tmp_path / "run"))
    with pytest.raises(BundleError, match="no bundle is called 'nobody'"):
        edit(params("nobody", images, tmp_path / "run"))
    with pytest.raises(StorageError, match="no directions store"):
        edit(params(tiny, images, tmp_path / "run", directions=str(tmp_path / "none.zarr")))


def test_too_many_failures_fail_the_run_and_keep_what_is_done(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 6)
    (folder / "broken.png").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    state = edit(params(tiny, folder, tmp_path / "run"), return_state=True)
    assert state.is_failed()
    assert (
        "10 of 40 rows failed (1 Empty, 1 NotAnImage)" in state.message
        or "1 NotAnImage, 1 Empty" in state.message
    )
    assert isinstance(state.result(raise_on_failure=False), RunFailed)
    rows = rows_of(tmp_path / "run")
    assert (rows["status"] == "ok").sum() == 30 and len(pictures_of(tmp_path / "run")) == 6 * 6
    tolerant = edit(params(tiny, folder, tmp_path / "run", max_failed_fraction=0.3))
    assert tolerant.failed == 10 and tolerant.shards_done_before == 2


def test_the_state_of_a_wrong_call_is_its_one_line(tiny, images, tmp_path):
    state = edit(params("nobody", images, tmp_path / "run"), return_state=True)
    assert state.is_failed() and state.message.startswith("no bundle is called 'nobody'")


def test_a_day_in_the_output_folder_is_the_day_of_the_run(tiny, tmp_path):
    folder, before = write_pictures(tmp_path / "images", 2), datetime.now(UTC).date()
    summary = edit(params(tiny, folder, tmp_path / "{date}" / "run"))
    day = Path(summary.run).parent.name
    assert before.isoformat() <= day <= datetime.now(UTC).date().isoformat()
    assert summary.rows == len(read_metrics(summary.run)) and not (tmp_path / "{date}").exists()
    inverted = invert(
        InvertParams(bundle=tiny, device="cpu", images=str(folder), output=str(tmp_path / "codes-{date}"))
    )
    assert inverted.run == str(tmp_path / f"codes-{day}")
