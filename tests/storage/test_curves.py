"""Curves: what goes in comes out, a part written again counts once, mistakes are one line."""

from __future__ import annotations

import pandas as pd
import pytest

from storage.curves import read_curves, write_curves
from storage.errors import StorageError, StoreCorrupt


def curve(steps: int, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"step": range(steps), "loss": [1 / (step + 1) for step in range(steps)]} | columns)


def test_parts_of_several_flows_come_back_with_their_names(tmp_path):
    write_curves(str(tmp_path), "edit", "shard-00001", curve(2, image_id=["a", None]))
    write_curves(str(tmp_path), "edit", "shard-00000", curve(3, image_id="b"))
    write_curves(str(tmp_path), "train-mappers", "red-hair", curve(2, validation=0.25))
    found = read_curves(str(tmp_path))
    assert found["flow"].tolist() == ["edit"] * 5 + ["train-mappers"] * 2
    assert found["part"].tolist() == ["shard-00000"] * 3 + ["shard-00001"] * 2 + ["red-hair"] * 2
    assert found["step"].tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert found["image_id"][3] == "a" and found["image_id"].isna().tolist() == [False] * 4 + [True] * 3
    assert found["validation"].isna().tolist() == [True] * 5 + [False] * 2


def test_a_part_written_again_counts_once_and_leaves_no_other_file(tmp_path):
    write_curves(str(tmp_path), "edit", "p", curve(5))
    write_curves(str(tmp_path), "edit", "p", curve(2))
    assert len(read_curves(str(tmp_path))) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["p.parquet"]


def test_pandas_reads_the_folder_by_itself(tmp_path):
    write_curves(str(tmp_path), "edit", "p", curve(3))
    assert len(pd.read_parquet(tmp_path / "curves")) == 3


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb"])
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    for flow, part in ((name, "p"), ("edit", name)):
        with pytest.raises(StorageError, match="cannot name curves"):
            write_curves(str(tmp_path), flow, part, curve(1))


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(StorageError, match="holds no curves"):
        read_curves(str(tmp_path))
    with pytest.raises(StorageError, match="cannot have a column 'flow'"):
        write_curves(str(tmp_path), "edit", "p", curve(1, flow="x"))
    write_curves(str(tmp_path), "edit", "p", curve(1))
    file = tmp_path / "curves" / "flow=edit" / "p.parquet"
    curve(1, curves_version=99).to_parquet(file)
    with pytest.raises(StoreCorrupt, match="of version 99"):
        read_curves(str(tmp_path))
    file.write_bytes(b"PAR1 nonsense")
    with pytest.raises(StoreCorrupt, match="cannot be read") as caught:
        read_curves(str(tmp_path))
    assert "\n" not in str(caught.value)
