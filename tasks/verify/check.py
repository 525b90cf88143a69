"""The units of a verification: what there is to look at, some shards of a run, a store."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from prefect import task

from storage import arrays, uris
from storage.cells import PlannedShard, has_plan, planned_shards
from storage.directions import KIND as DIRECTIONS
from storage.directions import DirectionStore
from storage.errors import Damage, StorageError, StoreCorrupt
from storage.latents import KIND as LATENTS
from storage.soundness import Checked, check_codes, check_shard
from tasks.process.retries import RETRIES, RETRY_SECONDS, worth_another_try

PARTS = 32
"""Tasks that the shards of a run are spread over: enough to see progress, few enough for any server."""
WITH_CODES = ("invert", "free-generation")
"""Flows that keep latent codes in their folder."""


@dataclass(frozen=True)
class Survey:
    """What a folder is: a run (`flow`) or a store (`store`: its kind); parts: numbers of its shards, task by task."""

    flow: str | None
    store: str | None
    shards: int
    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Found:
    """What verification has looked at so far, and what is wrong."""

    rows: int = 0
    pictures: int = 0
    damages: tuple[Damage, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(self.rows + other.rows, self.pictures + other.pictures, self.damages + other.damages)


@task(name="survey", task_run_name="survey {place}")
def survey(place: str) -> Survey:
    """Tell what is to be verified. Raises StorageError for what is neither a run nor a store, StoreCorrupt for a
    damaged plan, without which nothing else can be told."""
    if has_plan(place):
        shards = planned_shards(place)
        size = max(1, -(-len(shards) // PARTS))
        numbers = [tuple(range(i, min(i + size, len(shards)))) for i in range(0, len(shards), size)]
        return Survey(shards[0].flow if shards else None, None, len(shards), tuple(numbers))
    kind = (arrays.attributes(place) or {}).get("kind")
    if kind in (DIRECTIONS, LATENTS):
        return Survey(None, str(kind), 0, ())
    raise StorageError(
        f"{place} is neither the output folder of edit, optimize or invert nor a store of directions or latents"
    )


@functools.lru_cache(maxsize=1)
def _shards(run: str, _stamp: object) -> list[PlannedShard]:
    return planned_shards(run)


@task(
    name="check shards",
    task_run_name="shards {numbers}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
def check_shards(run: str, numbers: tuple[int, ...]) -> Found:
    """Look at every file of these shards."""
    shards = _shards(run, uris.stamp_of(uris.join(run, "plan.json")))
    checked: list[Checked] = [check_shard(run, shards[number]) for number in numbers]
    return Found(
        sum(each.rows for each in checked),
        sum(each.pictures for each in checked),
        tuple(damage for each in checked for damage in each.damages),
    )


@task(
    name="check stores",
    task_run_name="stores of {place}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
def check_stores(place: str, what: Survey) -> Found:
    """Look at the Zarr store that `place` is, or that the run in it keeps; blocks that are not done count as damage."""
    if what.store == DIRECTIONS:
        try:
            store = DirectionStore.open(place)
            damages = store.damages()
            if not any("/done/" in damage.file for damage in damages):
                damages += [
                    Damage(place, f"block {number} is not done", number) for number in store.missing_blocks()
                ]
        except StoreCorrupt as error:
            damages = [Damage(place, str(error).removeprefix(place).strip())]
        return Found(damages=tuple(damages))
    if what.store == LATENTS:
        return Found(damages=tuple(check_codes(place, {})))
    if what.flow in WITH_CODES:
        run = planned_shards(place)[0].run
        return Found(damages=tuple(check_codes(uris.join(place, "latents.zarr"), {"run": run})))
    return Found()
