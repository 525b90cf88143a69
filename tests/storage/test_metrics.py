"""Rows go in once, come out with their types, and a shard without its file never happened."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest

from storage.errors import StorageError, StoreCorrupt
from storage.metrics import SCHEMA, finished_shards, read_metrics, write_shard, write_table


def row(image: str, **values: object) -> dict[str, object]:
    keys = {"image_id": image, "path": f"{image}.png", "input_hash": "0", "edit": "x", "status": "ok"}
    return keys | values


def file_of(run, shard: int):
    return next(run.glob(f"metrics/**/shard-{shard:05d}.parquet"))


def test_rows_come_back_with_exact_types(tmp_path):
    write_shard(
        str(tmp_path), "edit", "001", 0, [row("a", alpha=2, channels_used=7), row("b", status="failed")]
    )
    table = read_metrics(str(tmp_path))
    assert table["run"].tolist() == ["001", "001"] and table["flow"].tolist() == ["edit", "edit"]
    assert table["alpha"].tolist()[0] == 2.0 and table["image_id"].tolist() == ["a", "b"]
    assert set(SCHEMA.names) <= set(table.columns)
    assert pq.read_schema(file_of(tmp_path, 0)).equals(SCHEMA)


def test_a_shard_written_again_counts_once(tmp_path):
    for _ in range(2):
        write_shard(str(tmp_path), "edit", "r", 3, [row("a")])
    assert len(read_metrics(str(tmp_path))) == 1
    assert finished_shards(str(tmp_path), "edit", "r") == {3}
    assert finished_shards(str(tmp_path), "edit", "other") == set()
    assert finished_shards(str(tmp_path / "none"), "edit", "r") == set()


def test_an_unfinished_file_is_no_commit(tmp_path):
    write_shard(str(tmp_path), "edit", "r", 0, [row("a")])
    file_of(tmp_path, 0).with_name(".shard-00001.parquet.tmp").write_bytes(b"half")
    assert finished_shards(str(tmp_path), "edit", "r") == {0}
    assert len(read_metrics(str(tmp_path))) == 1


def test_older_files_without_later_columns_are_read(tmp_path):
    write_shard(str(tmp_path), "edit", "r", 0, [row("a", clip_gain=0.5)])
    write_shard(str(tmp_path), "edit", "r", 1, [row("b", clip_gain=0.25)])
    older = pq.read_table(file_of(tmp_path, 0)).drop_columns(["clip_gain", "judge_clip_after"])
    pq.write_table(older, file_of(tmp_path, 0))
    table = read_metrics(str(tmp_path))
    assert pd.isna(table["clip_gain"][0]) and table["clip_gain"][1] == 0.25


def test_mistakes_are_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match="no column shoe_size"):
        write_shard(str(tmp_path), "edit", "r", 0, [row("a", shoe_size=43)])
    with pytest.raises(StorageError, match="holds no metrics"):
        read_metrics(str(tmp_path))
    write_shard(str(tmp_path), "edit", "r", 0, [row("a")])
    file_of(tmp_path, 0).write_bytes(b"PAR1 nonsense")
    with pytest.raises(StoreCorrupt, match=r"shard-00000\.parquet cannot be read"):
        read_metrics(str(tmp_path))


def test_other_tables(tmp_path):
    write_table(str(tmp_path / "curves" / "x.parquet"), pd.DataFrame({"step": [1, 2]}))
    assert pd.read_parquet(tmp_path / "curves" / "x.parquet")["step"].tolist() == [1, 2]
