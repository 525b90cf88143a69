"""Facial landmarks that come with a folder of images: beside each image, or one table for all."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from storage import uris
from storage.datasets import ImageRef
from storage.errors import StorageError, StoreCorrupt
from storage.numpy_files import read_file

SIDECAR = ".landmarks.json"
TABLES = ("landmarks.json", "landmarks.csv", "landmarks.parquet")
READERS = 8
_KEPT = "landmarks.parquet"


@dataclass(frozen=True)
class Unusable:
    """Why an image has no landmarks: `error_class` is a short stable name, `reason` a sentence."""

    error_class: str
    reason: str


Found = Mapping[str, np.ndarray | Unusable]


def find_landmarks(
    folder: str, images: Sequence[ImageRef], table: str | None = None
) -> dict[str, np.ndarray | Unusable]:
    """Image id → landmarks float64 [n, 2], (x, y) in pixels of the upright image, or why there are none.

    `table` is a JSON, CSV or Parquet file of all images. Without it, each image has a file of its own beside it
    (photo.jpg: photo.landmarks.json, a list of [x, y], alone or under "landmarks"), or the folder holds one of
    landmarks.json ({name: [[x, y], …]}), landmarks.csv (image, x0, y0, x1, y1, …) and landmarks.parquet (those columns,
    or image and landmarks: lists of numbers). Names are paths below the folder, or ids. Raises StorageError when a
    table cannot be read as one.
    """
    if table is None:
        there = [name for name in TABLES if uris.exists(uris.join(folder, name))]
        if len(there) > 1:
            raise StorageError(f"{folder} holds {' and '.join(there)}: keep one of them, or name it")
        table = uris.join(folder, there[0]) if there else None
    rows = {} if table is None else _read_table(table)
    names = {ref.id: ref.path[len(_root(folder)) :] for ref in images}
    nowhere = f"it is not in {table}" if table else f"there is neither a NAME{SIDECAR} beside it nor a table"

    def find(ref: ImageRef) -> np.ndarray | Unusable:
        for name in (names[ref.id], ref.id):
            if name in rows:
                return _points(rows[name], f"its entry in {table}")
        sidecar = str(PurePosixPath(names[ref.id]).with_suffix(SIDECAR))
        try:
            text = uris.read_bytes(uris.join(folder, sidecar))
        except FileNotFoundError:
            return Unusable("NoLandmarks", nowhere)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            return Unusable("BadLandmarks", f"{sidecar} cannot be read: {error.strerror or error}")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return Unusable("BadLandmarks", f"{sidecar} is no JSON")
        return _points(found.get("landmarks") if isinstance(found, dict) else found, sidecar)

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip([ref.id for ref in images], pool.map(find, images), strict=True))


def _root(folder: str) -> str:
    root = folder if uris.is_remote(folder) else str(uris.local_path(folder).absolute())
    return root.rstrip("/") + "/"


def _points(value: Any, where: str) -> np.ndarray | Unusable:
    """Pairs, or one list x0, y0, x1, y1, … → [n, 2]."""
    try:
        numbers = np.asarray(value.tolist() if isinstance(value, np.ndarray) else value, dtype=np.float64)
        points = numbers.reshape(-1, 2) if numbers.ndim == 1 else numbers
    except (ValueError, TypeError):
        return Unusable("BadLandmarks", f"{where} is no list of points [x, y]")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        return Unusable("BadLandmarks", f"{where} is no list of points [x, y] with finite numbers")
    return points


def _read_table(uri: str) -> dict[str, Any]:
    data = read_file(uri)
    try:
        if uri.endswith(".json"):
            rows = json.loads(data)
            if not isinstance(rows, dict):
                raise ValueError("wanted is one object, {image: [[x, y], …]}")
            return rows
        if uri.endswith(".csv"):
            frame = pd.read_csv(io.BytesIO(data), dtype={"image": str})
        elif uri.endswith(".parquet"):
            frame = pq.read_table(io.BytesIO(data)).to_pandas()
        else:
            raise ValueError("its name ends neither in .json nor in .csv nor in .parquet")
        if "image" not in frame:
            raise ValueError("it has no column 'image'")
        values = _columns(frame)
    except (ValueError, RecursionError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise StorageError(f"{uri} cannot be read as a table of landmarks: {why}") from error
    names = frame["image"].astype(str)
    if (twice := names[names.duplicated()]).size:
        raise StorageError(f"{uri} holds image '{twice.iloc[0]}' twice: leave one row for each image")
    return dict(zip(names, values, strict=True))


def _columns(frame: pd.DataFrame) -> list[Any]:
    if "landmarks" in frame:
        return [_flat(value) for value in frame["landmarks"]]
    count = sum(1 for name in frame if re.fullmatch(r"x\d+", str(name)))
    wanted = [f"{axis}{number}" for number in range(count) for axis in "xy"]
    if not count or set(wanted) - set(frame):
        raise ValueError("it has neither a column 'landmarks' nor columns x0, y0, x1, y1, …")
    return list(frame[wanted].to_numpy())


def _flat(value: Any) -> np.ndarray | None:
    try:
        return np.concatenate([np.ravel(part) for part in value])
    except (TypeError, ValueError):  # an empty cell, of whatever kind
        return None


def load_landmarks(run: str, ids: Sequence[str]) -> list[np.ndarray | Unusable]:
    """Of these images, what runs kept in a file of their own before plans of version 2. Raises StoreCorrupt when it is
    gone or damaged."""
    uri = uris.join(run, _KEPT)
    again = "run the same command again, it writes it anew"
    try:
        fs, path = uris.filesystem(uri)
        with fs.open(path, "rb") as file:
            table = pq.read_table(file, filters=[("image_id", "in", list(ids))])
        rows = {row["image_id"]: row for row in table.to_pylist()}
        return [
            Unusable(rows[id_]["error_class"], rows[id_]["reason"])
            if rows[id_]["landmarks"] is None
            else np.asarray(rows[id_]["landmarks"]).reshape(-1, 2)
            for id_ in ids
        ]
    except FileNotFoundError as error:
        raise StoreCorrupt(f"{uri} is gone: {again}") from error
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise StoreCorrupt(f"{uri} is damaged: {again}") from error
