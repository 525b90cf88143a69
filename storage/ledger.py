"""What all generations of a run amount to: every image ever seen, its last version, and which edits of it are done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.plan import Generation, images_of

FRESH = pa.array(["new", "changed"])
"""Changes after which nothing that was made of an image before counts any more."""
_COLUMNS = ["id", "version", "change", "work"]


class Sets:
    """Sets of edit names as small numbers, so that a million images carry an array of numbers; 0 is the empty set."""

    def __init__(self) -> None:
        self._sets: list[frozenset[str]] = [frozenset()]
        self._number = {self._sets[0]: 0}

    def number(self, names: Iterable[str]) -> int:
        """The number of a set."""
        found = frozenset(names)
        if found not in self._number:
            self._number[found] = len(self._sets)
            self._sets.append(found)
        return self._number[found]

    def __getitem__(self, number: int) -> frozenset[str]:
        return self._sets[number]

    def minus(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Element by element, what is in `left` and not in `right`; int32 [n], as both."""
        return self._each(left, right, lambda a, b: a - b)

    def plus(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Element by element, what is in either; int32 [n], as both."""
        return self._each(left, right, lambda a, b: a | b)

    def _each(
        self,
        left: np.ndarray,
        right: np.ndarray,
        made: Callable[[frozenset[str], frozenset[str]], frozenset[str]],
    ) -> np.ndarray:
        pairs = (left.astype(np.int64) << 32) | right.astype(np.int64)
        unique, where = np.unique(pairs, return_inverse=True)
        found = [self.number(made(self[int(pair >> 32)], self[int(pair & 0xFFFFFFFF)])) for pair in unique]
        return np.array(found, np.int32)[where] if len(found) else np.zeros(0, np.int32)


@dataclass
class Ledger:
    """Arrays of one entry per image, in the order in which they were first planned.

    version: as last seen; present: whether the last generation's folder held it; done: the set of edits whose rows are
    committed, of its present content; pending: the set that the last generation plans and has not committed; shard:
    where its last row stands, -1 for none.
    """

    sets: Sets
    ids: pa.Array
    version: pa.Array
    present: np.ndarray
    done: np.ndarray
    pending: np.ndarray
    shard: np.ndarray

    def find(self, ids: pa.Array) -> np.ndarray:
        """Positions of these ids, int32 [n]; -1 where an id was never seen."""
        return positions(ids, self.ids)


def positions(ids: pa.Array, among: pa.Array) -> np.ndarray:
    """Where each id stands, int32 [n]; -1 for nowhere."""
    if not len(among):
        return np.full(len(ids), -1, np.int32)
    return np.asarray(pc.fill_null(pc.index_in(ids, value_set=among), -1)).astype(np.int32)


def shards_of(generation: Generation, work: np.ndarray) -> np.ndarray:
    """The shard of each row of a generation's table, int32 [n]; -1 for rows without work.

    `work` is the table's column: rows of one set of edits stand together, in shards of their own.
    """
    shards = np.full(len(work), -1, np.int32)
    first = generation.first_shard
    for number in range(len(generation.work)):
        (rows,) = np.nonzero(work == number)
        shards[rows] = first + np.arange(len(rows)) // generation.shard_size
        first += -(-len(rows) // generation.shard_size)
    assert first == generation.end, (first, generation.end)
    return shards


def read_ledger(run_dir: str, generations: Sequence[Generation], finished: Collection[int]) -> Ledger:
    """Everything up to the last of these generations; `finished` are the committed shards of the run."""
    sets = Sets()
    none = np.zeros(0, np.int32)
    ledger = Ledger(
        sets, pa.array([], pa.string()), pa.array([], pa.string()), none.astype(bool), none, none, none
    )
    for generation in generations:
        table = images_of(run_dir, generation).columns(_COLUMNS)
        _add(ledger, generation, table, np.fromiter(finished, np.int64, len(finished)))
    return ledger


def _add(ledger: Ledger, generation: Generation, table: pa.Table, finished: np.ndarray) -> None:
    ids, versions, work = flat(table["id"]), flat(table["version"]), np.asarray(table["work"])
    at = ledger.find(ids)
    (unseen,) = np.nonzero(at < 0)
    known = len(ledger.ids)
    at[unseen] = known + np.arange(len(unseen))
    ledger.ids = pa.concat_arrays([ledger.ids, ids.take(pa.array(unseen))])
    # The last version of each image: a pointer into the old versions and then the new ones.
    pointer = np.concatenate([np.arange(known), np.zeros(len(unseen), np.int64)])
    pointer[at] = known + np.arange(len(at))
    ledger.version = pa.concat_arrays([ledger.version, versions]).take(pa.array(pointer))

    def grown(values: np.ndarray, fill: int) -> np.ndarray:
        return np.concatenate([values, np.full(len(unseen), fill, values.dtype)])

    ledger.present = grown(ledger.present, True)
    ledger.present[at] = ~np.asarray(pc.equal(table["change"], "removed"))
    fresh = np.asarray(pc.is_in(table["change"], value_set=FRESH))
    shards = shards_of(generation, work)
    committed = np.isin(shards, finished)
    planned = np.array([0, *(ledger.sets.number(names) for names in generation.work)], np.int32)[work + 1]
    ledger.shard = grown(ledger.shard, -1)
    before = np.where(fresh, 0, grown(ledger.done, 0)[at])
    ledger.done = grown(ledger.done, 0)
    ledger.done[at] = np.where(
        committed, ledger.sets.plus(before, planned), ledger.sets.minus(before, planned)
    )
    ledger.shard[at[committed]] = shards[committed]
    ledger.pending = np.zeros(len(ledger.ids), np.int32)
    ledger.pending[at] = np.where(committed, 0, planned)


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
