"""The immutable plan of a run's generation: which edits of which images, and under which models and parameters.

RUN/plan.json is the header of the first generation, RUN/plan-0001.json that of the next; each names its table of
images (`storage.plan_table`). Shards are numbered on through all generations, so that one number names a shard.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from storage import plan_v1, uris
from storage.errors import StorageError, StoreCorrupt
from storage.landmarks import Unusable
from storage.plan_table import face_of, open_images

PLAN_VERSION = 2
_LOCK = threading.Lock()


@dataclass(frozen=True)
class PlannedImage:
    """An input: id, path, the version of the file when the plan was made, and its landmarks or why it has none.

    hash: of its content, known once it has been read.
    """

    id: str
    path: str
    version: str = ""
    face: np.ndarray | Unusable | None = None
    hash: str = ""


@dataclass(frozen=True)
class PlannedShard:
    """What one shard does: `names` of the `edits`, on these images."""

    run_id: str
    generation: int
    number: int
    images: tuple[PlannedImage, ...]
    names: tuple[str, ...]
    edits: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Generation:
    """The header of one generation of a run.

    edits: those that are asked for; former: those that an earlier generation was asked for and this one is not;
    work: the sets of edit names that its shards make; first_shard, shards: its numbers; root: what image names are
    relative to; table: its images, in the run folder; images: how many the folder holds; changes: how many are new,
    changed, removed, or done again or seen as they were (same).
    """

    number: int
    run_id: str
    edits: tuple[Mapping[str, Any], ...]
    former: tuple[Mapping[str, Any], ...]
    work: tuple[tuple[str, ...], ...]
    shard_size: int
    first_shard: int
    shards: int
    fingerprint: Mapping[str, Any]
    root: str
    table: str
    images: int
    changes: Mapping[str, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the edits; one empty name for a run that makes no edits."""
        return names_of(self.edits)

    @property
    def end(self) -> int:
        """The number after its last shard."""
        return self.first_shard + self.shards

    def to_json(self) -> str:
        """Readable, and stable: the same header gives the same text, in ASCII."""
        body = {"version": PLAN_VERSION} | {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Generation:
        """Inverse of `to_json`, after parsing. Raises ValueError, KeyError or TypeError for anything else."""
        if body["version"] != PLAN_VERSION:
            raise ValueError(f"it is of version {body['version']}, this program reads up to {PLAN_VERSION}")
        values = {each.name: body[each.name] for each in fields(cls)}
        for name in ("edits", "former"):
            values[name] = tuple(values[name])
        values["work"] = tuple(tuple(names) for names in values["work"])
        if values["shard_size"] < 1:
            raise ValueError(f"its shard_size is {values['shard_size']}")
        return cls(**values)


def names_of(edits: tuple[Mapping[str, Any], ...]) -> tuple[str, ...]:
    """Names of edits; one empty name where there are none, as a run does something with every image."""
    return tuple(str(edit["name"]) for edit in edits) or ("",)


def header_uri(run_dir: str, number: int) -> str:
    """Where the header of a generation is."""
    return uris.join(run_dir, f"plan-{number:04d}.json" if number else "plan.json")


class Images(Protocol):
    """The images of a generation, shard by shard or column by column."""

    def group(self, number: int) -> pa.Table:
        """The rows of its shard `number`, counted from its first one."""

    def columns(self, names: list[str]) -> pa.Table:
        """Some columns of all rows."""


def images_of(run_dir: str, generation: Generation) -> Images:
    """The table of images of a generation. Raises StoreCorrupt when it cannot be read."""
    if generation.table == plan_v1.TABLE:
        return plan_v1.images(run_dir, uris.stamp_of(header_uri(run_dir, 0)))
    return open_images(uris.join(run_dir, generation.table))


def generations_of(run_dir: str) -> tuple[Generation, ...]:
    """All generations of a run folder, oldest first; none for a folder without a plan.

    Each header is read once by a process: they never change. Raises StoreCorrupt when one cannot be read.
    """
    return _known(run_dir, look_on=True)


def load_plan(run_dir: str) -> Generation | None:
    """The latest generation of a run folder, None when there is no plan. Raises StoreCorrupt for a damaged one."""
    found = generations_of(run_dir)
    return found[-1] if found else None


def shard_of(run_dir: str, number: int) -> PlannedShard:
    """What a shard does. Reads its own rows only. Raises StoreCorrupt for a plan that is gone or damaged."""
    for look_on in (False, True):
        for generation in _known(run_dir, look_on):
            if generation.first_shard <= number < generation.end:
                return _shard(run_dir, generation, number)
    raise StoreCorrupt(
        f"{header_uri(run_dir, 0)} knows no shard {number}: run the same command again, it writes the plan anew"
    )


def _shard(run_dir: str, generation: Generation, number: int) -> PlannedShard:
    rows = images_of(run_dir, generation).group(number - generation.first_shard).to_pylist()
    images = tuple(
        PlannedImage(row["id"], path_of(generation.root, row["name"]), row["version"], face_of(row))
        for row in rows
    )
    return PlannedShard(
        generation.run_id,
        generation.number,
        number,
        images,
        generation.work[rows[0]["work"]],
        generation.edits,
    )


def path_of(root: str, name: bytes) -> str:
    """The path of an image; the root itself where the name is empty."""
    text = name.decode("utf-8", "surrogateescape")
    return uris.join(root, text) if root and text else root or text


def _known(run_dir: str, look_on: bool) -> tuple[Generation, ...]:
    # A folder may be deleted and made again while a process lives.
    if (stamp := uris.stamp_of(header_uri(run_dir, 0))) is None:
        return ()
    with _LOCK:
        known = _headers(run_dir, stamp)
        while look_on or not known:
            found = _read(run_dir, len(known))
            if found is None:
                break
            known.append(found)
        return tuple(known)


@functools.lru_cache(maxsize=4)
def _headers(_run_dir: str, _stamp: object) -> list[Generation]:
    return []


def _read(run_dir: str, number: int) -> Generation | None:
    uri = header_uri(run_dir, number)
    try:
        body = json.loads(uris.read_bytes(uri).decode("utf-8"))
        if number == 0 and body["version"] == 1:
            return Generation(**plan_v1.header(body))
        return Generation.from_json(body)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError, StorageError) as error:
        raise StoreCorrupt(f"{uri} cannot be read as a plan ({error}): use another output folder") from error
