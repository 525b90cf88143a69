"""Parquet files in which every flipped bit is noticed, and that any reader opens."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import parquet

TABLE = pa.table(
    {"id": [f"i{n}" for n in range(50)], "gain": [n / 7 for n in range(50)], "none": [None] * 50}
)


def test_no_flipped_bit_comes_back_as_another_number():
    good, chance = parquet.to_bytes(TABLE), random.Random(0)
    noticed = 0
    for _ in range(400):
        bit = chance.randrange(8 * len(good))
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        try:
            assert parquet.from_bytes(bytes(bad)).equals(TABLE)
        except (pa.ArrowException, OSError):
            noticed += 1
    assert noticed > 380


def test_other_readers_and_other_writers(tmp_path: Path):
    (tmp_path / "ours.parquet").write_bytes(parquet.to_bytes(TABLE))
    assert pq.read_table(tmp_path / "ours.parquet", page_checksum_verification=True).equals(TABLE)
    assert len(pd.read_parquet(tmp_path / "ours.parquet")) == 50
    pq.write_table(TABLE, tmp_path / "theirs.parquet")
    assert parquet.from_bytes((tmp_path / "theirs.parquet").read_bytes(), ["gain"]).num_columns == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1 nonsense that is no footer PAR1"])
def test_what_is_no_parquet_file_is_refused(data):
    with pytest.raises((pa.ArrowException, OSError)):
        parquet.from_bytes(data)
