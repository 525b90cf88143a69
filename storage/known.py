"""What the committed rows of a run say of its images: which cells failed, and whether a file has its old content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import uris
from storage.datasets import UNREADABLE, is_of_version
from storage.errors import StoreCorrupt
from storage.images_table import HASHED
from storage.metrics import ShardFile, shard_uri
from storage.plan import PlannedImage
from storage.reading import Rows, read_shard


def failed_cells(run_dir: str) -> dict[str, set[str]]:
    """Image id → its edits whose present row has failed. Reads three columns of every shard of the run."""
    failed: defaultdict[str, set[str]] = defaultdict(set)
    for batch in Rows(run_dir, planned=True).batches(["image_id", "edit", "status"]):
        rows = batch.filter(pc.equal(batch["status"], "failed"))
        for id_, edit in zip(rows["image_id"].to_pylist(), rows["edit"].to_pylist(), strict=True):
            failed[id_].add(edit)
    return dict(failed)


def same_content(
    before: Sequence[str],
    now: Sequence[str],
    shards: np.ndarray,
    rows: Callable[[Sequence[int]], dict[str, str]],
    ids: Sequence[str],
    hashes: Callable[[Sequence[int]], Sequence[str]],
) -> np.ndarray:
    """bool [n]: which images, whose versions `before` and `now` differ, have the content that they had.

    A file that was copied, or touched, has another time and may be the same. Only where size and landmarks are the same
    is its content looked at: `hashes` of these places, against what `rows` (shards → id → hash) have kept of it.
    """
    same = np.zeros(len(ids), bool)
    suspects: list[int] = []
    known: dict[int, str] = {}
    for place, (old, new) in enumerate(zip(before, now, strict=True)):
        (old_file, _, old_face), (new_file, _, new_face) = old.partition("+"), new.partition("+")
        if old_face != new_face:
            continue
        if old_file.startswith(HASHED):
            known[place] = old_file.removeprefix(HASHED)
            suspects.append(place)
        elif old_file.split("-")[0] == new_file.split("-")[0]:
            # Of an image without any row nothing can have been made of another content.
            same[place] = shards[place] < 0
            if shards[place] >= 0:
                suspects.append(place)
    wanted = sorted({int(shards[place]) for place in suspects if place not in known})
    kept = rows(wanted) if wanted else {}
    for place, digest in zip(suspects, hashes(suspects) if suspects else (), strict=True):
        same[place] = digest == known.get(place, kept.get(ids[place]))
    return same


def hashes_in(run_dir: str, shards: Sequence[int]) -> dict[str, str]:
    """Image id → the hash of its content, of all rows of these shards; later shards win."""
    asked = set(shards)
    reader = Rows(run_dir, "all", planned=True)
    files: list[ShardFile] = [each for each in reader.files if each.shard in asked]
    found: dict[str, str] = {}
    for file in files:
        table: pa.Table = reader.read([file], ["image_id", "input_hash"])
        found |= dict(zip(table["image_id"].to_pylist(), table["input_hash"].to_pylist(), strict=True))
    return found


def by_content(
    run_dir: str, flow: str, run: str, shard: int, images: Sequence[PlannedImage]
) -> tuple[PlannedImage, ...]:
    """The images of a shard that may have been committed before: a file that was written again since, as when it is
    restored from a copy, is known by the content that the rows have kept of it instead of by its time."""
    file = ShardFile(shard_uri(run_dir, flow, run, shard), flow, run, shard)
    if not uris.exists(file.uri):
        return tuple(images)
    try:
        rows = read_shard(file)
    except StoreCorrupt:
        return tuple(images)
    known = dict(zip(rows["image_id"].to_pylist(), rows["input_hash"].to_pylist(), strict=True))
    return tuple(
        replace(image, version=HASHED + known[image.id])
        if known.get(image.id, UNREADABLE) != UNREADABLE and not is_of_version(image.path, image.version)
        else image
        for image in images
    )
