"""What a report tells of a run's rows, in one pass and in memory that does not grow with them."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StoreCorrupt
from storage.rows import row_batches

METRICS = {
    "clip_gain": "CLIP gain",
    "directional_similarity": "direction",
    "identity_reconstruction_edit": "identity",
    "distance_reconstruction_edit": "pixels",
    "clipped_share": "clipped",
    "identity_source_reconstruction": "identity of the inversion",
    "distance_source_reconstruction": "pixels of the inversion",
}
"""Column of the rows → what the report calls it."""
LOW, HIGH, FINE, BINS = -1.0, 2.0, 6000, 60
"""All metrics lie between; they are counted in fine bins, and drawn in 60 of the range that is there."""
STAGES = ("decode", "invert", "edit", "metrics", "write")
HOW = ("method", "neutral", "target", "alpha", "channels_used", "mapper", "steps")
RULES = {
    "identity": ("lowest identity", "identity_reconstruction_edit", False),
    "gain": ("lowest CLIP gain", "clip_gain", False),
    "change": ("most pixels changed", "distance_reconstruction_edit", True),
    "random": ("drawn at random", "_chance", False),
}
"""Rule → what the page calls it, the column that it sorts by, whether the largest come first."""
KEPT = 24
"""Rows kept for each edit and rule."""
_COLUMNS = [
    "image_id", "path", "edit", "status", "error_class", "reason", "output", "bundle", "package_version",
    *HOW, *METRICS, *(f"ms_{stage}" for stage in STAGES),
]  # fmt: skip


@dataclass
class Distribution:
    """One metric of one edit: how many numbers, their sum, and how they are spread."""

    count: int = 0
    total: float = 0.0
    fine: np.ndarray = field(default_factory=lambda: np.zeros(FINE, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Count some more numbers; those that are none are left out."""
        values = values[np.isfinite(values)]
        self.count += len(values)
        self.total += float(values.sum())
        places = ((values - LOW) / (HIGH - LOW) * FINE).clip(0, FINE - 1).astype(np.int64)
        self.fine += np.bincount(places, minlength=FINE)

    @property
    def mean(self) -> float | None:
        """None where there are no numbers."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The value below which this share of the numbers lies, as exact as a fine bin."""
        if not self.count:
            return None
        place = int(np.searchsorted(self.fine.cumsum(), share * self.count))
        return LOW + (place + 0.5) * (HIGH - LOW) / FINE

    def bins(self, low: float, high: float) -> np.ndarray:
        """Counts in 60 equal bins of a range, int64 [60]."""
        centres = LOW + (np.arange(FINE) + 0.5) * (HIGH - LOW) / FINE
        counts, _ = np.histogram(centres, BINS, (low, high), weights=self.fine)
        return counts.astype(np.int64)


@dataclass
class EditPart:
    """All that is told of one edit; chosen: rule → the rows that it has chosen so far."""

    how: dict[str, Any]
    ok: int = 0
    failed: int = 0
    ms: float = 0.0
    metrics: dict[str, Distribution] = field(
        default_factory=lambda: {name: Distribution() for name in METRICS}
    )
    chosen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _worst: dict[str, list[float]] = field(default_factory=dict)

    def choose(self, rule: str, keys: np.ndarray, places: np.ndarray, table: pa.Table) -> None:
        """Keep the rows with the smallest keys so far, in their order; `places` of the keys in the table."""
        before = self._worst.get(rule, [])
        limit = before[-1] if len(before) == KEPT else math.inf
        better = np.flatnonzero(keys < limit)
        better = better[np.argsort(keys[better], kind="stable")[:KEPT]]
        if not len(better):
            return
        rows = table.take(pa.array(places[better])).to_pylist()
        pairs = [*zip(before, self.chosen.get(rule, []), strict=True), *zip(keys[better], rows, strict=True)]
        pairs = sorted(pairs, key=lambda pair: float(pair[0]))[:KEPT]
        self._worst[rule] = [float(key) for key, _ in pairs]
        self.chosen[rule] = [row for _, row in pairs]


@dataclass
class Gathered:
    """All that is told of a run."""

    flow: str = ""
    bundle: str = ""
    version: str = ""
    edits: dict[str, EditPart] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    damaged: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(part.ok + part.failed for part in self.edits.values())


def gather_rows(run: str) -> Gathered:
    """Read all rows once. Files that cannot be read are told of in `damaged`; StorageError where there are no rows."""
    found = Gathered()

    def note(error: StoreCorrupt) -> None:
        found.damaged.append(str(error))

    for table in row_batches(run, [*_COLUMNS, "flow"], note):
        if not found.flow and len(table):
            found.flow, found.bundle, found.version = (
                str(table[name][0].as_py() or "") for name in ("flow", "bundle", "package_version")
            )
        for stage in STAGES:
            found.stages[stage] += pc.sum(table[f"ms_{stage}"]).as_py() or 0.0
        _add(found, table)
    return found


def _add(found: Gathered, table: pa.Table) -> None:
    """Count the rows of one shard, as NumPy's columns: a data frame for each edit took ten times longer."""
    ids = table["image_id"].to_pylist()
    columns = {name: table[name].to_numpy().astype(float) for name in (*METRICS, "ms_edit")}
    columns["_chance"] = np.array([zlib.crc32(id_.encode()) for id_ in ids], float)
    good = np.asarray(pc.equal(table["status"], "ok"))
    edits = np.asarray(table["edit"].to_pylist())
    for name in dict.fromkeys(edits.tolist()):
        places = np.flatnonzero(edits == name)
        if name not in found.edits:
            first = table.slice(int(places[0]), 1).to_pylist()[0]
            found.edits[name] = EditPart({key: first[key] for key in HOW if first[key] is not None})
        part, ok = found.edits[name], places[good[places]]
        part.ok, part.failed = part.ok + len(ok), part.failed + len(places) - len(ok)
        part.ms += float(np.nansum(columns["ms_edit"][places]))
        for metric, distribution in part.metrics.items():
            distribution.add(columns[metric][ok])
        for rule, (_, column, largest) in RULES.items():
            part.choose(rule, -columns[column][ok] if largest else columns[column][ok], ok, table)
    failed = table.filter(~good)
    for kind, path, id_, reason in zip(
        *(failed[name].to_pylist() for name in ("error_class", "path", "image_id", "reason")), strict=True
    ):
        found.failures[str(kind)] += 1
        known, example = found.examples.setdefault(str(kind), []), (str(path or id_), str(reason))
        if len(known) < 3 and example not in known:
            known.append(example)
