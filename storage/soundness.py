"""Whether what a run has written is still there and still the same: rows, pictures, curves, codes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from storage import parquet, uris
from storage.cells import PlannedShard, curves_part
from storage.errors import Damage, ImageError, StorageError
from storage.images import decode_image, read_image
from storage.latents import LatentStore
from storage.metrics import ShardFile, shard_uri
from storage.reading import read_shard

READERS = 8
"""Threads that read pictures: they wait for a disk or a network, and for sha256, which releases the GIL."""
_COLUMNS = ["image_id", "edit", "status", "method", "output"]
_DIGESTS = ["output_sha256", "reconstruction_sha256", "source_sha256"]


@dataclass(frozen=True)
class Checked:
    """What was looked at in a shard, and what is wrong."""

    rows: int = 0
    pictures: int = 0
    damages: tuple[Damage, ...] = ()


def check_shard(run_dir: str, shard: PlannedShard) -> Checked:
    """Look at all that one shard has written. Errors of the network pass, so that they are tried again."""
    uri = shard_uri(run_dir, shard.flow, shard.run, shard.number)
    if not uris.exists(uri):
        return Checked(
            damages=(Damage(uri, "is missing: its shard is not finished, or it got lost", shard.number),)
        )
    try:
        table = read_shard(ShardFile(uri, shard.flow, shard.run, shard.number))
    except StorageError as error:
        return Checked(damages=(Damage(uri, _reason(error, uri), shard.number),))
    rows = table.select([name for name in _COLUMNS + _DIGESTS if name in table.column_names]).to_pylist()
    damages = [Damage(uri, what, shard.number) for what in _wrong_cells(shard, rows)]
    rows = [row for row in rows if (row["image_id"], row["edit"]) not in shard.former]
    pictures = _pictures(rows, shard.again)
    with ThreadPoolExecutor(READERS) as pool:
        wrong = pool.map(lambda file: _wrong_picture(uris.join(run_dir, file), pictures[file]), pictures)
    damages += [
        Damage(uris.join(run_dir, file), what, shard.number)
        for file, what in zip(pictures, wrong, strict=True)
        if what is not None
    ]
    damages += _wrong_curves(run_dir, shard, rows)
    return Checked(len(rows), len(pictures), tuple(damages))


def _wrong_cells(shard: PlannedShard, rows: list[dict[str, Any]]) -> Iterator[str]:
    there, planned = Counter((row["image_id"], row["edit"]) for row in rows), set(shard.cells)
    if lacking := [cell for cell in shard.cells if cell not in there and cell not in shard.former]:
        yield f"lacks {len(lacking)} planned rows, such as ({', '.join(lacking[0])})"
    if foreign := [cell for cell in there if cell not in planned]:
        yield f"holds {len(foreign)} rows that nobody planned, such as ({', '.join(foreign[0])})"
    if twice := [cell for cell, times in there.items() if times > 1]:
        yield f"holds {len(twice)} rows twice, such as ({', '.join(twice[0])})"


def _pictures(rows: list[dict[str, Any]], again: frozenset[str]) -> dict[str, str | None]:
    """Every picture that rows tell of → its sha256, None where an older version has not recorded it; but not the
    sources and reconstructions of images that are written `again` by a later shard, whose rows tell of them."""
    found: dict[str, str | None] = {}
    for row in rows:
        if row["status"] == "ok" and row["output"]:
            found[row["output"]] = row.get("output_sha256")
        for folder in ("reconstruction", "source"):
            if row["image_id"] not in again and (digest := row.get(f"{folder}_sha256")):
                found[f"images/{folder}/{row['image_id']}.png"] = digest
    return found


def _wrong_picture(uri: str, digest: str | None) -> str | None:
    """What is wrong with a picture; None when it is sound."""
    try:
        data = read_image(uri)
        if digest is None:
            decode_image(data, None)
        elif hashlib.sha256(data).hexdigest() != digest:
            return f"is not what was written: {_state_of(data)}"
    except ImageError as error:
        return "is missing" if error.error_class == "NotFound" else error.reason
    return None


def _state_of(data: bytes) -> str:
    try:
        decode_image(data, None)
    except ImageError as error:
        return error.reason
    return "it is a picture, but its sha256 is another one"


def _wrong_curves(run_dir: str, shard: PlannedShard, rows: list[dict[str, Any]]) -> list[Damage]:
    uri = uris.join(run_dir, "curves", f"flow={shard.flow}", f"{curves_part(shard.number)}.parquet")
    try:
        parquet.from_bytes(uris.read_bytes(uri))
    except FileNotFoundError:
        if any(row["status"] == "ok" and row.get("method") == "optimize" for row in rows):
            return [Damage(uri, "is missing", shard.number)]
    except (ConnectionError, TimeoutError):
        raise
    except (pa.ArrowException, OSError) as error:
        return [Damage(uri, _reason(error, uri), shard.number)]
    return []


def check_codes(uri: str, attributes: Mapping[str, Any]) -> list[Damage]:
    """What is wrong with the latents store of a run, whose attributes must be these."""
    try:
        store = LatentStore.open(uri, attributes)
        found = store.damages()
        if not any("/done/" in damage.file for damage in found):
            found += [Damage(uri, f"shard {number} is not done", number) for number in store.missing_shards()]
        return found
    except StorageError as error:
        return [Damage(uri, _reason(error, uri))]


def _reason(error: Exception, uri: str) -> str:
    """The error in one line, without the file that is named beside it."""
    return " ".join(str(error).removeprefix(uri).split()) or type(error).__name__
