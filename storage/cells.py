"""The cells, (image, edit), that a run has planned, shard by shard: what its folder must hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from storage import uris
from storage.errors import StorageError
from storage.ledger import shards_of
from storage.metrics import finished_shards
from storage.plan import PlannedImage, generations_of, images_of, shard_of
from storage.presence import Presence


@dataclass(frozen=True)
class PlannedShard:
    """A shard of a run: flow and run name its files; edits: names, none where each image is an edit of its own.

    former: cells whose rows no longer count, because they were made again, or their image or edit is gone; again: ids
    of images whose source and reconstruction a later shard has written again.
    """

    flow: str
    run: str
    number: int
    images: tuple[PlannedImage, ...]
    edits: tuple[str, ...]
    former: frozenset[tuple[str, str]] = frozenset()
    again: frozenset[str] = frozenset()

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(image id, edit) of every row that the shard was to make, those that no longer count included."""
        if self.flow == "free-generation":
            return [(image.id, image.id) for image in self.images]
        return [(image.id, edit) for image in self.images for edit in self.edits]


def planned_shards(run_dir: str) -> list[PlannedShard]:
    """Every shard of a run folder that counts for its present state, in order.

    Raises StorageError where there is no plan, StoreCorrupt for a damaged one.
    """
    generations = generations_of(run_dir)
    if not generations:
        raise StorageError(
            f"{run_dir} holds no plan.json: give the output folder of edit, optimize or invert"
        )
    flow, run = str(generations[0].fingerprint["flow"]), generations[0].run_id
    presence = Presence(run_dir, generations, finished_shards(run_dir, flow, run))
    found: list[PlannedShard] = []
    seen: set[str] = set()
    # From the last one back, so that what was written again is known.
    for number in range(generations[-1].end - 1, -1, -1):
        planned = shard_of(run_dir, number)
        edits = () if planned.names == ("",) else planned.names
        shard = PlannedShard(flow, run, number, planned.images, edits)
        states = [0] * len(shard.cells)
        if len(generations) > 1:
            ids, names = (pa.chunked_array([pa.array(column)]) for column in zip(*shard.cells, strict=True))
            states = presence.states(number, ids, names).tolist()
        former = frozenset(cell for cell, state in zip(shard.cells, states, strict=True) if state)
        if len(former) < len(shard.cells):
            mine = {image.id for image in planned.images}
            found.append(replace(shard, former=former, again=frozenset(mine & seen)))
            seen |= mine
    return found[::-1]


def shard_sizes(run_dir: str) -> dict[int, int]:
    """How many images each shard of a run folder has, without the images themselves."""
    sizes: dict[int, int] = {}
    for generation in generations_of(run_dir):
        work = np.asarray(images_of(run_dir, generation).columns(["work"])["work"])
        shards = shards_of(generation, work)
        numbers, counts = np.unique(shards[shards >= 0], return_counts=True)
        sizes |= dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    return sizes


def curves_part(shard: int) -> str:
    """The name under which the curves of a shard are kept."""
    return f"shard-{shard:05d}"


def has_plan(run_dir: str) -> bool:
    """Whether a folder is that of a run with a plan."""
    return uris.exists(uris.join(run_dir, "plan.json"))
