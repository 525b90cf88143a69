"""Which committed rows are the present state of a run: one per image and edit that are asked for now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.ledger import FRESH, shards_of
from storage.plan import Generation, images_of

STATES = ("present", "superseded", "removed", "dropped")
"""What a row is: of the present state; made again since; of an image that is gone; of an edit no longer asked for."""
PRESENT, SUPERSEDED, REMOVED, DROPPED = range(4)


class Presence:
    """Tells rows of the present state from others; made once per reader, asked shard by shard.

    Only generations after the first are held in memory: those name what they supersede.
    """

    def __init__(self, run_dir: str, generations: Sequence[Generation], finished: Collection[int]) -> None:
        self.generations = tuple(generations)
        self._ends = np.array([each.end for each in generations])
        self._edits = {name: number for number, name in enumerate(_all_names(generations))}
        self._asked = np.array([name in set(generations[-1].names) for name in self._edits], bool)
        self._any_edit = generations[-1].names == ("",)
        done = np.fromiter(finished, np.int64, len(finished))
        parts = [self._part(run_dir, each, done) for each in generations[1:]]
        self._rows = pd.concat(parts, ignore_index=True) if parts else None
        if self._rows is None:
            return
        ids = self._rows["id"]
        codes, unique = pd.factorize(ids)
        self._index = pd.Index(unique)
        count, number = len(unique), self._rows["generation"].to_numpy()
        self._fresh = np.full(count, -1)
        fresh = self._rows["fresh"].to_numpy()
        self._fresh[codes[fresh]] = number[fresh]  # in order of generations, so that the last one stays
        self._gone = np.zeros(count, bool)
        self._gone[codes] = self._rows["removed"].to_numpy()
        self._owners, self._owner = self._owned(codes, number)
        self._rows = self._rows.iloc[:0]

    def _part(self, run_dir: str, generation: Generation, finished: np.ndarray) -> pd.DataFrame:
        table = images_of(run_dir, generation).columns(["id", "change", "work"])
        work = np.asarray(table["work"])
        committed = np.isin(shards_of(generation, work), finished)
        return pd.DataFrame(
            {
                "id": table["id"].to_pandas(),
                "generation": np.int32(generation.number),
                "fresh": np.asarray(pc.is_in(table["change"], value_set=FRESH)),
                "removed": np.asarray(pc.equal(table["change"], "removed")),
                "work": np.where(committed, work, -1),
            }
        )

    def _owned(self, codes: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(sorted keys image × edit, the last generation that has committed each)."""
        assert self._rows is not None
        work = self._rows["work"].to_numpy()
        keys, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for generation in self.generations[1:]:
            for place, names in enumerate(generation.work):
                rows = codes[(number == generation.number) & (work == place)].astype(np.int64)
                for name in names:
                    keys.append(rows * len(self._edits) + self._edits[name])
                    owners.append(np.full(len(rows), generation.number))
        key, owner = np.concatenate(keys), np.concatenate(owners)
        order = np.lexsort((owner, key))
        key, owner = key[order], owner[order]
        last = np.append(key[1:] != key[:-1], True) if len(key) else np.zeros(0, bool)
        return key[last], owner[last]

    def generation_of(self, shard: int) -> int:
        """The generation that a shard belongs to."""
        return int(np.searchsorted(self._ends, shard, side="right"))

    def states(self, shard: int, ids: pa.ChunkedArray, edits: pa.ChunkedArray) -> np.ndarray:
        """The state of each row of a shard (numbers of `STATES`), int8 [n]."""
        states = np.zeros(len(ids), np.int8)
        if self._rows is None:  # of a single generation every row is what is asked for
            return states
        of = np.array([self._edits.get(name, -1) for name in edits.to_pylist()], np.int64)
        mine = self.generation_of(shard)
        at = self._index.get_indexer(ids.to_pandas())
        (known,) = np.nonzero(at >= 0)
        place = at[known]
        again = self._fresh[place] > mine
        if len(self._owners):
            key = place.astype(np.int64) * len(self._edits) + of[known]
            found = np.minimum(np.searchsorted(self._owners, key), len(self._owners) - 1)
            again |= (self._owners[found] == key) & (self._owner[found] > mine)
        states[known[again]] = SUPERSEDED
        states[known[~again & self._gone[place]]] = REMOVED
        if not self._any_edit:
            dropped = (of < 0) | ~self._asked[of]
            states[dropped & (states == PRESENT)] = DROPPED
        return states


def _all_names(generations: Sequence[Generation]) -> list[str]:
    return list(dict.fromkeys(name for each in generations for names in each.work for name in names))
