"""A run that grows: what a folder and a list of edits ask for now, against what the run has done, is the next plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import uris
from storage.differences import another_run, compare
from storage.errors import StorageError, StoreCorrupt
from storage.known import failed_cells, hashes_in, same_content
from storage.ledger import Ledger, flat, positions, read_ledger
from storage.metrics import finished_shards
from storage.plan import Generation, generations_of, header_uri, names_of
from storage.plan_table import CHANGE, WORK, write_images

_ATTEMPTS = 5
_CHANGES = pa.array(["same", "new", "changed", "removed"])
SAME, NEW, CHANGED = range(3)


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for.

    images: `storage.plan_table.IMAGES`, with `FACES` where faces are aligned by landmarks; root: what their names are
    relative to; hashes(ids, names): hashes of the content that these images have now, for those that look changed and
    may not be. Raises StorageError when two images have one id, or when the shard size is below 1.
    """

    images: pa.Table
    root: str
    edits: tuple[Mapping[str, Any], ...]
    shard_size: int
    fingerprint: Mapping[str, Any]
    hashes: Callable[[Sequence[str], Sequence[bytes]], Sequence[str]]

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise StorageError(f"shard_size is {self.shard_size}: at least one image must be in a shard")
        # Sorted here, so that shards are the same whoever lists the folder.
        images = self.images.take(pc.sort_indices(self.images["id"])).combine_chunks()
        object.__setattr__(self, "images", images)
        ids = self.ids
        if len(ids) > 1 and (twice := pc.equal(ids[1:], ids[:-1])) and pc.any(twice).as_py():
            name = ids[int(np.argmax(np.asarray(twice)))]
            raise StorageError(f"two images of the plan have the id '{name}': give every image its own")

    @property
    def ids(self) -> pa.Array:
        """Their ids, sorted."""
        return flat(self.images["id"])

    @property
    def run_id(self) -> str:
        """Short name of a run: the same for the same images by id, edits and parameters, wherever the images are."""
        body = {"edits": self.edits, "shard_size": self.shard_size, "fingerprint": self.fingerprint}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode())
        for part in range(0, len(self.ids), 1 << 16):
            digest.update("\0".join([*self.ids[part : part + (1 << 16)].to_pylist(), ""]).encode())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Kept:
    """The plan that is valid now: its generation, the shards that no run has finished, and whether there was one.

    finished: shards of all generations that are committed.
    """

    generation: Generation
    missing: list[int]
    continued: bool
    finished: frozenset[int]

    @property
    def shards(self) -> int:
        """How many there are, finished or to do."""
        return len(self.finished) + len(self.missing)


def keep_plan(run_dir: str, wanted: Wanted, *, retry_failed: bool = False, strict: bool = False) -> Kept:
    """Write the plan of a new run; or go on with the folder's run, and plan a generation more where something is new.

    New images and new edits are added, images with another content are done again, images that are gone are marked,
    and with `retry_failed` failed rows are done again; nothing that is done and unchanged is. What an earlier
    generation had not finished is part of the new one. With `strict` a run that grew is refused instead, save what
    had failed where that is retried.

    Of two runs that begin at once in one folder one writes its plan, and the other goes on with it. Raises
    PlanMismatch, naming what differs, when the folder belongs to another run: other weights, parameters, or another
    edit under the name of one that was made.
    """
    for _ in range(_ATTEMPTS):
        generations = generations_of(run_dir)
        flow = str(wanted.fingerprint.get("flow", ""))
        finished = finished_shards(run_dir, flow, generations[0].run_id) if generations else set()
        if generations:
            _check(run_dir, generations[-1], wanted, strict)
        ledger = read_ledger(run_dir, generations, finished)
        plan = _Next(run_dir, wanted, generations, ledger)
        if retry_failed and generations:
            plan.forget(failed_cells(run_dir))
        if strict and generations:
            plan.refuse_growth()
        if generations and not plan.needed():
            last = generations[-1]
            missing = sorted(set(range(last.first_shard, last.end)) - finished)
            return Kept(last, missing, True, frozenset(finished))
        header = plan.write()
        if uris.write_new(header_uri(run_dir, header.number), header.to_json().encode("ascii")):
            missing = list(range(header.first_shard, header.end))
            return Kept(header, missing, bool(generations), frozenset(finished))
    raise StoreCorrupt(f"{run_dir}: its plan is changed by others all the time: run the same command again")


def _check(run_dir: str, last: Generation, wanted: Wanted, strict: bool) -> None:
    """Refuse what cannot be one run: other weights or parameters, or another edit under a known name."""
    now, before = dict(wanted.fingerprint), dict(last.fingerprint)
    makers = now.pop("edits", {}), before.pop("edits", {})
    found = compare(before, now)
    known = {edit["name"]: edit for edit in (*last.former, *last.edits) if "name" in edit}
    for edit in wanted.edits if not strict else ():
        if (name := edit["name"]) in known:
            found += compare(makers[1].get(name), makers[0].get(name), f"edits.{name}")
            found += compare(known[name], edit, f"edits.{name}")
    if strict:
        kept = {name: makers[1].get(name) for name in {*makers[0], *last.names} & {*makers[1]}}
        found += compare(kept, makers[0], "edits") + compare(last.shard_size, wanted.shard_size, "shard_size")
        found += compare(last.edits, wanted.edits, "edits")
    if found:
        raise another_run(run_dir, found)


class _Next:
    """The generation that would come next: one entry per wanted image in each array."""

    def __init__(
        self, run_dir: str, wanted: Wanted, generations: Sequence[Generation], ledger: Ledger
    ) -> None:
        self.run_dir, self.wanted, self.ledger = run_dir, wanted, ledger
        self.last = generations[-1] if generations else None
        self.at = ledger.find(wanted.ids)
        known = self.at >= 0
        self.failed = np.zeros(len(self.at), bool)
        self.touched = known.copy()
        before = ledger.version.take(pa.array(np.where(known, self.at, 0))) if len(ledger.ids) else wanted.ids
        self.touched &= ~np.asarray(pc.equal(before, flat(wanted.images["version"])))
        self.change = np.where(known, SAME, NEW).astype(np.int8)
        if self.touched.any():
            (rows,) = np.nonzero(self.touched)
            self.change[rows[~self._same(rows, before)]] = CHANGED
        sets = ledger.sets
        done = np.where(self.change == SAME, _taken(ledger.done, self.at), 0)
        self.pending = np.where(self.change == SAME, _taken(ledger.pending, self.at), 0)
        self.every = np.full(len(self.at), sets.number(names_of(wanted.edits)), np.int32)
        self.todo = sets.minus(self.every, done)
        gone = ledger.present & (positions(ledger.ids, wanted.ids) < 0)
        (self.removed,) = np.nonzero(gone)
        self.back = known & ~_taken(ledger.present, self.at).astype(bool)

    def _same(self, rows: np.ndarray, before: pa.Array) -> np.ndarray:
        """bool [n]: which of these images, whose files look changed, have the content that they had."""
        at, wanted = pa.array(rows), self.wanted
        ids, names = wanted.ids.take(at).to_pylist(), flat(wanted.images["name"]).take(at).to_pylist()
        return same_content(
            before.take(at).to_pylist(),
            flat(wanted.images["version"]).take(at).to_pylist(),
            self.ledger.shard[self.at[rows]],
            lambda shards: hashes_in(self.run_dir, shards),
            ids,
            lambda which: wanted.hashes([ids[place] for place in which], [names[place] for place in which]),
        )

    def forget(self, failed: Mapping[str, set[str]]) -> None:
        """Let these cells (id → edits) count as not done."""
        if not failed:
            return
        at = positions(pa.array(list(failed), pa.string()), self.wanted.ids)
        sets, asked, every = (
            self.ledger.sets,
            set(names_of(self.wanted.edits)),
            set(self.last.names if self.last else ()),
        )
        for row, names in zip(at, failed.values(), strict=True):
            if row >= 0:
                self.todo[row] = sets.number(sets[int(self.todo[row])] | (names & asked))
                self.failed[row] = names >= every

    def refuse_growth(self) -> None:
        """Raise PlanMismatch where an image is gone, new, or, unless all of it has failed, changed."""
        assert self.last is not None
        changed = (self.change == CHANGED) & ~self.failed
        lines: list[str] = []
        total = 0
        for ids, what in (
            (self.ledger.ids.take(pa.array(self.removed)), "image '{}' is gone"),
            (self.wanted.ids.filter(pa.array((self.change == NEW) | self.back)), "image '{}' is new"),
            (self.wanted.ids.filter(pa.array(changed)), "the content of image '{}' has changed"),
        ):
            total += len(ids)
            lines += [what.format(id_) for id_ in ids[:3].to_pylist()]
        if lines:
            raise another_run(self.run_dir, lines, total - len(lines))

    def needed(self) -> bool:
        """Whether anything must be planned: more than what the last generation is still to do, or other news."""
        assert self.last is not None
        if (self.change != SAME).any() or self.touched.any() or len(self.removed) or self.back.any():
            return True
        if set(names_of(self.wanted.edits)) != set(self.last.names):
            return True
        if not np.array_equal(self.todo, self.pending):
            return True
        return bool(self.pending.any()) and self.last.root != self.wanted.root

    def write(self) -> Generation:
        """Write the table of images; its header, which makes it valid, is left to the caller."""
        wanted, last, sets = self.wanted, self.last, self.ledger.sets
        order = {name: place for place, name in enumerate(names_of(wanted.edits))}
        numbers = [int(number) for number in np.unique(self.todo) if number]
        work = sorted((tuple(sorted(sets[number], key=order.__getitem__)), number) for number in numbers)
        work.sort(key=lambda each: (-len(each[0]), each[0]))
        size = last.shard_size if last else wanted.shard_size
        groups, shards = [], 0
        for place, (_, number) in enumerate(work):
            (rows,) = np.nonzero(self.todo == number)
            groups.append(self._rows(rows, place))
            shards += -(-len(rows) // size)
        (seen,) = np.nonzero((self.todo == 0) & (self.touched | self.back | (self.change != SAME)))
        tail = [self._rows(seen, -1), self._gone()]
        table = write_images(self.run_dir, groups, pa.concat_tables(tail), size)
        now = set(names_of(wanted.edits))
        former = [edit for edit in (*last.former, *last.edits) if edit["name"] not in now] if last else []
        fingerprint = dict(wanted.fingerprint)
        if former and last:
            makers = last.fingerprint.get("edits", {})
            fingerprint["edits"] = {
                **{edit["name"]: makers[edit["name"]] for edit in former if edit["name"] in makers},
                **fingerprint.get("edits", {}),
            }
        counts = {
            name: int((self.change == code).sum()) for code, name in ((NEW, "new"), (CHANGED, "changed"))
        }
        counts["same"] = int(((self.change == SAME) & (self.todo != 0)).sum())
        return Generation(
            number=last.number + 1 if last else 0,
            run_id=last.run_id if last else wanted.run_id,
            edits=tuple(wanted.edits),
            former=tuple(former),
            work=tuple(names for names, _ in work),
            shard_size=size,
            first_shard=last.end if last else 0,
            shards=shards,
            fingerprint=fingerprint,
            root=wanted.root,
            table=table,
            images=len(wanted.ids),
            changes=counts | {"removed": len(self.removed)},
        )

    def _rows(self, rows: np.ndarray, work: int) -> pa.Table:
        table = self.wanted.images.take(pa.array(rows))
        return _marked(table, _CHANGES.take(pa.array(self.change[rows])), work)

    def _gone(self) -> pa.Table:
        at = pa.array(self.removed)
        count = len(self.removed)
        schema = self.wanted.images.schema
        columns = {"id": self.ledger.ids.take(at), "version": self.ledger.version.take(at)}
        columns["name"] = pa.array([b""] * count, pa.binary())
        arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
        return _marked(pa.table(arrays, schema=schema), pa.array(["removed"] * count, pa.string()), -1)


def _marked(table: pa.Table, changes: pa.Array, work: int) -> pa.Table:
    table = table.append_column(CHANGE, changes)
    return table.append_column(WORK, pa.array(np.full(len(table), work, np.int32)))


def _taken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """values[at], and 0 where `at` is -1."""
    return np.where(at >= 0, values[np.maximum(at, 0)], 0) if len(values) else np.zeros(len(at), np.int32)
