"""Plans of version 1, which held all images and their content hashes in plan.json: still read, never written."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from storage import uris
from storage.images_table import HASHED, images_table
from storage.landmarks import load_landmarks
from storage.plan_table import CHANGE, WORK, with_faces

TABLE = "plan.json"
"""What stands for the name of their table."""


def header(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Generation`. Raises KeyError, TypeError or ValueError for what is no such plan."""
    size, fingerprint = body["shard_size"], dict(body["fingerprint"])
    if size < 1:
        raise ValueError(f"its shard_size is {size}")
    count = len(_sorted(body))
    # Landmarks are part of each image now.
    fingerprint.pop("landmarks", None)
    edits = tuple(body["edits"])
    if fingerprint.get("flow") == "invert":
        edits = ({"name": "inversion"},)
    return {
        "number": 0,
        "run_id": _run_id(body),
        "edits": edits,
        "former": (),
        "work": (tuple(str(edit["name"]) for edit in edits) or ("",),),
        "shard_size": size,
        "first_shard": 0,
        "shards": -(-count // size),
        "fingerprint": fingerprint,
        "root": "",
        "table": TABLE,
        "images": count,
        "changes": {"new": count},
    }


def _sorted(body: Mapping[str, Any]) -> list[dict[str, str]]:
    images = sorted(body["images"], key=lambda image: image["id"])
    for image in images:
        if not {"id", "path", "hash"} <= set(image):
            raise KeyError("hash")
    return images


def _run_id(body: Mapping[str, Any]) -> str:
    """As it was computed then: rows are committed under it."""
    mended = body.get("mended", {})
    images = [{"id": each["id"], "hash": mended.get(each["id"], each["hash"])} for each in _sorted(body)]
    text = {
        "version": 1, "edits": body["edits"], "shard_size": body["shard_size"],
        "fingerprint": body["fingerprint"], "images": images,
    }  # fmt: skip
    encoded = json.dumps(text, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode()
    return hashlib.sha256(encoded).hexdigest()[:12]


class _InMemory:
    def __init__(self, table: pa.Table, shard_size: int) -> None:
        self._table, self._size = table, shard_size

    def group(self, number: int) -> pa.Table:
        return self._table.slice(number * self._size, self._size)

    def columns(self, names: Sequence[str]) -> pa.Table:
        return self._table.select(list(names))


@functools.lru_cache(maxsize=2)
def images(run_dir: str, _stamp: object) -> _InMemory:
    """The table of images; the landmarks that such a run kept in a file of its own are joined to it."""
    body = json.loads(uris.read_bytes(uris.join(run_dir, TABLE)))
    found = _sorted(body)
    ids = [image["id"] for image in found]
    table = images_table(ids, [image["path"] for image in found], [HASHED + image["hash"] for image in found])
    if "landmarks" in body["fingerprint"]:
        table = with_faces(table, load_landmarks(run_dir, ids))
    table = table.append_column(CHANGE, pa.array(["new"] * len(ids), CHANGE.type))
    return _InMemory(table.append_column(WORK, pa.array([0] * len(ids), WORK.type)), body["shard_size"])
