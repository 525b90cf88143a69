"""Rows go in once, come out with their types, and a shard without its file never happened."""

from __future__ import annotations

import os

import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import StorageError, StoreCorrupt
from storage.metrics import SCHEMA, finished_shards, write_shard, write_table
from storage.reading import read_metrics

# What design.md, section 6, and issue 2 ask of a row, beside the partition's flow and run.
PROMISED = [
    "image_id", "path", "input_hash", "edit", "method", "neutral", "target", "unknown_words", "alpha", "beta",
    "channels_used", "seed", "status", "error_class", "reason", "ms_decode", "ms_invert", "ms_edit",
    "ms_metrics", "ms_write", "clip_before", "clip_after", "clip_gain", "directional_similarity",
    "judge_clip_before", "judge_clip_after", "judge_directional_similarity",
    "identity_source_reconstruction", "identity_reconstruction_edit", "distance_source_reconstruction",
    "distance_reconstruction_edit", "clipped_share", "delta_norm", "output", "schema_version", "generation",
    "package_version", "bundle", "space", "steps", "lambda_l2", "lambda_id", "learning_rate", "relative",
    "mapper", "batch", "output_sha256", "reconstruction_sha256", "source_sha256", "input_digital_source_type",
    "input_has_c2pa", "channels_why", "aim", "reached_value", "reached",
]  # fmt: skip


def row(image: str, **values: object) -> dict[str, object]:
    keys = {"image_id": image, "path": f"{image}.png", "input_hash": "0", "edit": "x", "status": "ok"}
    return keys | values


def file_of(run, shard: int):
    return next(run.glob(f"metrics/**/shard-{shard:05d}.parquet"))


def test_the_schema_is_what_was_promised():
    assert sorted(SCHEMA.names) == sorted(PROMISED)
    assert [field.name for field in SCHEMA if not field.nullable] == [
        "image_id", "path", "input_hash", "edit", "status",
    ]  # fmt: skip


def test_rows_come_back_with_exact_types(tmp_path):
    seed = 2**60 + 1  # no float holds it
    rows = [row("a", alpha=2, channels_used=7, seed=seed), row("b", status="failed", reason="cut off")]
    write_shard(str(tmp_path), "edit", "001", 0, rows)
    table = read_metrics(str(tmp_path))
    assert table["run"].tolist() == ["001", "001"] and table["flow"].tolist() == ["edit", "edit"]
    assert table["alpha"].dtype == np.float64 and table["alpha"][0] == 2.0 and pd.isna(table["alpha"][1])
    assert table["image_id"].tolist() == ["a", "b"] and table["reason"][1] == "cut off"
    assert table["seed"][0] == seed and table["seed"].isna().tolist() == [False, True]
    assert table["channels_used"][0] == 7 and table["schema_version"].tolist() == [5, 5]
    assert pq.ParquetFile(file_of(tmp_path, 0)).schema_arrow.equals(SCHEMA)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # dask's, about pandas
@pytest.mark.parametrize("read", [pd.read_parquet, lambda path: dask.dataframe.read_parquet(path).compute()])
def test_other_readers_see_the_same_rows(tmp_path, read):
    for flow, run, shard in [("edit", "001", 0), ("edit", "001", 1), ("invert", "7", 0)]:
        write_shard(str(tmp_path), flow, run, shard, [row(f"{flow}{shard}")])
    file_of(tmp_path, 1).with_name(".0123.tmp").write_bytes(b"half")
    found = read(str(tmp_path / "metrics"))
    assert sorted(found["image_id"]) == ["edit0", "edit1", "invert0"]
    assert sorted(found["run"].astype(str)) == ["r-001", "r-001", "r-7"]


def test_a_shard_written_again_counts_once(tmp_path):
    for clip_gain in (1.0, 2.0):
        write_shard(str(tmp_path), "edit", "r", 3, [row("a", clip_gain=clip_gain)])
    assert read_metrics(str(tmp_path))["clip_gain"].tolist() == [2.0]
    assert finished_shards(str(tmp_path), "edit", "r") == {3}
    assert finished_shards(str(tmp_path), "edit", "other") == set()
    assert finished_shards(str(tmp_path), "invert", "r") == set()
    assert finished_shards(str(tmp_path / "none"), "edit", "r") == set()


def test_an_unfinished_file_is_no_commit(tmp_path):
    write_shard(str(tmp_path), "edit", "r", 0, [row("a")])
    file_of(tmp_path, 0).with_name(".shard-00001.parquet.tmp").write_bytes(b"half")
    file_of(tmp_path, 0).with_name("shard-00002.parquet.copy").write_bytes(b"half")
    assert finished_shards(str(tmp_path), "edit", "r") == {0}
    assert len(read_metrics(str(tmp_path))) == 1


def test_file_names_that_are_no_utf8_are_written_readably(tmp_path):
    path = os.fsdecode(b"/in/b\xffd \xc3\xbc.png")
    write_shard(str(tmp_path), "edit", "r", 0, [row("bd", path=path)])
    assert read_metrics(str(tmp_path))["path"].tolist() == [r"/in/b\udcffd ü.png"]


def test_older_files_without_later_columns_are_read(tmp_path):
    write_shard(str(tmp_path), "edit", "r", 0, [row("a", clip_gain=0.5, seed=1)])
    write_shard(str(tmp_path), "edit", "r", 1, [row("b", clip_gain=0.25, seed=2)])
    older = (
        pq.ParquetFile(file_of(tmp_path, 0)).read().drop_columns(["clip_gain", "judge_clip_after", "seed"])
    )
    pq.write_table(older, file_of(tmp_path, 0))
    table = read_metrics(str(tmp_path)).set_index("image_id")
    assert pd.isna(table["clip_gain"]["a"]) and table["clip_gain"]["b"] == 0.25
    assert pd.isna(table["seed"]["a"]) and table["seed"]["b"] == 2


def test_columns_of_newer_files_are_kept(tmp_path):
    write_shard(str(tmp_path), "edit", "r", 0, [row("a")])
    write_shard(str(tmp_path), "edit", "r", 1, [row("b")])
    newer = pq.ParquetFile(file_of(tmp_path, 1)).read().append_column("shoe_size", pa.array([43.0]))
    pq.write_table(newer, file_of(tmp_path, 1))
    table = read_metrics(str(tmp_path)).set_index("image_id")
    assert pd.isna(table["shoe_size"]["a"]) and table["shoe_size"]["b"] == 43


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shoe_size": 43}, "no column shoe_size"),
        ({"status": "done"}, "'ok' or 'failed', not 'done'"),
        ({"path": None}, "lacks path"),
        ({"alpha": "three"}, "column 'alpha' of the metrics holds double"),
        ({"seed": 2**70}, "column 'seed' of the metrics holds int64"),
    ],
)
def test_rows_that_cannot_be_stored_are_refused_whole(tmp_path, values, words):
    with pytest.raises(StorageError, match=words):
        write_shard(str(tmp_path), "edit", "r", 0, [row("good"), row("a") | values])
    assert finished_shards(str(tmp_path), "edit", "r") == set()


@pytest.mark.parametrize(("flow", "run"), [("edit", "a/b"), ("edit", ""), ("../x", "r"), ("edit", "a\nb")])
def test_names_that_are_no_folder_names_are_refused(tmp_path, flow, run):
    with pytest.raises(StorageError, match="cannot name a flow or run"):
        write_shard(str(tmp_path), flow, run, 0, [row("a")])


def test_mistakes_are_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match="holds no metrics"):
        read_metrics(str(tmp_path))
    write_shard(str(tmp_path), "edit", "r", 0, [row("a")])
    for damage in (b"", b"PAR1 nonsense", file_of(tmp_path, 0).read_bytes()[:-100]):
        file_of(tmp_path, 0).write_bytes(damage)
        with pytest.raises(
            StoreCorrupt, match=r"shard-00000\.parquet cannot be read .*: delete it"
        ) as caught:
            read_metrics(str(tmp_path))
        assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file/metrics.* cannot be written .*choose another place"):
        write_shard(str(tmp_path / "file"), "edit", "r", 0, [row("a")])


def test_other_tables(tmp_path):
    curve = pd.DataFrame({"step": [1, 2], "loss": [0.5, np.nan], "name": ["a", None]})
    write_table(str(tmp_path / "curves" / "x.parquet"), curve)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "curves" / "x.parquet"), curve)
