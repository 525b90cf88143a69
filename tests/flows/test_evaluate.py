"""Methods compared on a folder, by CLIP gain, with tiny networks; and on avatars, by the judges."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tiny_bundle import write_pictures

from flows.compare import compare, contests
from flows.costs import costs
from flows.forms.runs import CompareParams, CostsParams
from storage.errors import StorageError
from styleclip.errors import EditError
from tasks.evaluate.pictures import _folder

EDITS = """
- {target: a face with red hair, channels: 12, alpha: 2}
- {target: a smiling face, method: global-weighted, alpha: 4, channels: 8}
- {target: a face with red hair, method: optimize, steps: 8, learning_rate: 0.02}
- {target: a smiling face, channels: 8, alpha: 1}
"""
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 9)


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("edits") / "edits.yaml"
    path.write_text(EDITS, encoding="utf-8")
    return str(path)


def params(tiny: str, output: Path, **changes: object) -> CompareParams:
    values: dict[str, object] = {"images": 5, "choose_images": 3, "batch": 2} | changes
    return CompareParams(bundle=tiny, device="cpu", output=str(output), **values)


def test_methods_are_compared_on_a_folder_at_the_first_ones_clip_gain(tiny, folder, edits, tmp_path):
    summary = compare(params(tiny, tmp_path, folder=str(folder), edits_file=edits))
    table = pd.read_parquet(tmp_path / "methods.parquet")
    assert [asdict(row) for row in summary.table] == [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]
    assert list(zip(table["edit"], table["method"], strict=True)) == [
        ("red-hair", "global"),
        ("red-hair", "optimize"),
        ("smiling", "global-weighted"),
        ("smiling", "global"),
    ]
    firsts = table.groupby("edit").head(1)
    assert firsts["strength"].tolist() == [1, 1] and firsts["matched"].all()
    assert (table["strength"] > 0).all() and (table["strength"] <= 3).all()
    assert (table["pictures"] == 5).all() and (table["failed"] == 0).all()
    assert table["reached"].tolist() == pytest.approx(table["clip_gain"].tolist(), abs=1e-5)
    assert table["success"].isna().all(), "CLIP alone cannot tell success"
    assert table["identity"].between(-1, 1).all() and (table["ms_per_edit"] > 0).all()
    with Image.open(tmp_path / "methods" / "red-hair.png") as strip:
        assert strip.size == (5 * 16, 3 * 16)


def test_a_folder_must_have_images_for_both_sets(tiny, folder, edits, tmp_path):
    with pytest.raises(StorageError, match="9 usable images"):
        compare(params(tiny, tmp_path, folder=str(folder), edits_file=edits, images=7))


def test_a_bad_file_among_the_first_ones_is_passed_over(tiny, folder):
    (bad := folder / "a-bad.png").write_bytes(b"no picture")
    try:
        choose, score = _folder(tiny, "cpu", str(folder), 3, 5, 4)
    finally:
        bad.unlink()
    assert (len(choose.w), len(score.w)) == (3, 5)


def test_words_that_only_one_method_is_asked_for_are_no_comparison(tiny, tmp_path):
    path = tmp_path / "edits.yaml"
    path.write_text("- {target: a face with red hair}\n", encoding="utf-8")
    with pytest.raises(EditError, match="one method only"):
        contests(params(tiny, tmp_path, edits_file=str(path)))


def test_avatars_are_compared_by_the_judged_attribute(tmp_path):
    chosen = {"methods": ["global", "global-weighted"], "edits": ["hat"]}
    summary = compare(params("avatars", tmp_path, images=10, choose_images=8, batch=16, **chosen))
    first, second = summary.table
    assert (first.method, second.method) == ("global", "global-weighted")
    assert first.success >= 0.8 and first.worst_change < 0.2
    assert second.matched
    assert 0 < first.pictures <= 10


def test_costs_stand_beside_the_published_ones(tiny, edits, tmp_path):
    asked = CostsParams(bundle=tiny, device="cpu", output=str(tmp_path), batch=2, edits_file=edits)
    summary = costs(asked)
    ours = {row.method: row for row in summary.table if row.where.startswith("this machine")}
    theirs = {row.method: row for row in summary.table if row.where.startswith("paper")}
    assert set(ours) == {"global", "optimize"} and set(theirs) == {"global", "optimize", "mapper"}
    assert all(row.inference_s > 0 for row in ours.values())
    assert ours["global"].preprocessing_s > 0 and "40 channels" in ours["global"].estimated_from
    assert theirs["optimize"].inference_s == 98
    assert len(pd.read_parquet(tmp_path / "costs.parquet")) == len(summary.table)
