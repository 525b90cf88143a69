"""Landmarks beside images and in tables: what is found, what is missing, what is wrong, by name."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from storage.datasets import list_images
from storage.errors import StorageError, StoreCorrupt
from storage.landmarks import (
    Unusable,
    find_landmarks,
    load_landmarks,
)

FIVE = [[1.5, 2.0], [3.0, 2.0], [2.0, 3.0], [1.5, 4.0], [3.0, 4.0]]


@pytest.fixture
def folder(tmp_path):
    """a.png, b.jpg and sub/c.webp; landmarks need no picture that can be read."""
    for name in ("a.png", "b.jpg", "sub/c.webp"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    return tmp_path / "images"


def found_in(folder, table=None):
    return find_landmarks(str(folder), list_images(str(folder)).images, table)


def flat(rows: dict[str, list[list[float]]]) -> pd.DataFrame:
    columns = [f"{axis}{number}" for number in range(5) for axis in "xy"]
    frame = pd.DataFrame([np.ravel(points) for points in rows.values()], columns=columns)
    frame.insert(0, "image", list(rows))
    return frame


def test_a_file_beside_each_image(folder):
    (folder / "a.landmarks.json").write_text(json.dumps(FIVE))
    (folder / "sub/c.landmarks.json").write_text(json.dumps({"landmarks": FIVE, "score": 0.9}))
    found = found_in(folder)
    assert found["a"].tolist() == FIVE and found["sub__c"].tolist() == FIVE
    assert found["b"].error_class == "NoLandmarks" and "NAME.landmarks.json" in found["b"].reason


@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "parquet-lists", "parquet-nested"])
@pytest.mark.parametrize("named", [True, False])
def test_one_table_for_all(folder, tmp_path, kind, named):
    rows = {"a.png": FIVE, "sub__c": (np.array(FIVE) + 1).tolist()}
    ending = kind.split("-")[0]
    path = (tmp_path / f"elsewhere.{ending}") if named else (folder / f"landmarks.{ending}")
    if kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "csv":
        flat(rows).to_csv(path, index=False)
    elif kind == "parquet":
        flat(rows).to_parquet(path)
    else:
        values = (
            list(rows.values()) if kind.endswith("nested") else [np.ravel(v).tolist() for v in rows.values()]
        )
        pd.DataFrame({"image": list(rows), "landmarks": values}).to_parquet(path)
    found = found_in(folder, str(path) if named else None)
    assert found["a"].tolist() == FIVE and found["sub__c"].tolist() == rows["sub__c"]
    assert found["b"] == Unusable("NoLandmarks", f"it is not in {path}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"points": []}', "no list of points"),
        ('[["left", "right"]]', "no list of points"),
        ("[[1, 2, 3]]", "no list of points"),
        ("[[1, 2], [3]]", "no list of points"),
        ("[[1, NaN]]", "with finite numbers"),
        ("[]", "with finite numbers"),
        ("7", "no list of points"),
        ("null", "no list of points"),
    ],
)
def test_a_bad_file_is_that_image_s_failure(folder, content, reason):
    (folder / "a.landmarks.json").write_text(content)
    found = found_in(folder)["a"]
    assert found.error_class == "BadLandmarks" and reason in found.reason, found


def test_a_bad_table_is_everybody_s(folder, tmp_path):
    def refused(name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(StorageError, match=message):
            found_in(folder, str(tmp_path / name))

    refused("t.json", "[1, 2]", "wanted is one object")
    refused("t.json", "{", "cannot be read as a table")
    refused("t.csv", "file,x0,y0\na,1,2\n", "no column 'image'")
    refused("t.csv", "image,left,right\na,1,2\n", "neither a column 'landmarks' nor columns x0, y0")
    refused("t.csv", "image,x0,y0\na,1,2\na,1,3\n", "holds image 'a' twice")
    refused("t.parquet", "no parquet", "cannot be read as a table")
    refused("t.txt", "a 1 2", "ends neither in .json")
    with pytest.raises(StorageError, match="no such file"):
        found_in(folder, str(tmp_path / "none.csv"))
    for name in ("landmarks.csv", "landmarks.json"):
        (folder / name).write_text("{}")
    with pytest.raises(StorageError, match=r"landmarks\.json and landmarks\.csv: keep one"):
        found_in(folder)


def test_what_older_runs_kept_is_still_read(tmp_path):
    run, why = str(tmp_path), Unusable("NoLandmarks", "there are none")
    table = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "landmarks": [np.ravel(FIVE).tolist(), None],
            "error_class": ["", why.error_class],
            "reason": ["", why.reason],
        }
    )
    table.to_parquet(tmp_path / "landmarks.parquet", index=False)
    second, first = load_landmarks(run, ["b", "a"])
    assert second == why and first.tolist() == FIVE
    (tmp_path / "landmarks.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreCorrupt, match=r"landmarks\.parquet is damaged"):
        load_landmarks(run, ["a"])
    (tmp_path / "landmarks.parquet").unlink()
    with pytest.raises(StoreCorrupt, match="is gone"):
        load_landmarks(run, ["a"])


def test_an_empty_cell_of_a_table_is_an_image_without_landmarks(folder):
    rows = pd.DataFrame({"image": ["a.png", "b.jpg", "sub/c.webp"], "landmarks": [FIVE, None, None]})
    rows.to_parquet(folder / "landmarks.parquet")
    found = found_in(folder)
    np.testing.assert_array_equal(found["a"], FIVE)
    assert isinstance(found["b"], Unusable) and isinstance(found["sub__c"], Unusable)


def test_a_csv_with_an_empty_cell_is_no_traceback(folder):
    rows = pd.DataFrame({"image": ["a.png", "b.jpg"], "landmarks": [json.dumps(FIVE), None]})
    rows.to_csv(folder / "landmarks.csv", index=False)
    assert all(isinstance(entry, Unusable) for entry in found_in(folder).values())
