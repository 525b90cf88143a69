"""Which run made a file, from what and by which words: found by the file's content, whatever it is called now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from storage.images import read_image
from storage.markings import prompt_of
from storage.metrics import shard_files
from storage.reading import read_shard

MADE = ("output", "reconstruction", "source")
"""Pictures whose sha256 rows hold, by the name of the column."""
_TOLD = (
    "image_id", "path", "input_hash", "edit", "method", "neutral", "target", "alpha", "beta", "channels_used", "mapper",
    "steps", "bundle", "package_version", "output",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """A row that tells of a file: `role` is output, reconstruction or source, or input for a file that was edited;
    `row` holds the columns that say how, without nulls."""

    run: str
    flow: str
    role: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Traced:
    """What is known of a file: its sha256, the words that it says itself, and the rows that tell of it."""

    file: str
    sha256: str
    says: str | None
    origins: tuple[Origin, ...]


def trace(file: str, runs: Sequence[str]) -> Traced:
    """Look a file up in the rows of these runs; a reconstruction or source is told of once, not for each edit.

    Raises ImageError when the file cannot be read, StorageError for what is no run, StoreCorrupt for damaged rows.
    """
    data = read_image(file)
    digest = hashlib.sha256(data).hexdigest()
    origins: dict[tuple[str, str, str, str], Origin] = {}
    for run in runs:
        for origin in _origins(run, digest):
            edit = origin.row["edit"] if origin.role == "output" else ""
            origins.setdefault((run, origin.role, origin.row["image_id"], edit), origin)
    return Traced(file, digest, prompt_of(data), tuple(origins.values()))


def _origins(run: str, digest: str) -> Iterator[Origin]:
    wanted = [(f"{role}_sha256", digest, role) for role in MADE] + [("input_hash", digest[:16], "input")]
    for file in shard_files(run):
        rows = read_shard(file)
        for column, value, role in wanted:
            for row in rows.filter(pc.equal(rows[column], value)).to_pylist():
                told = {name: row[name] for name in _TOLD if row.get(name) not in (None, "")}
                yield Origin(run, file.flow, role, told)
