"""What it takes to make damaged files again: the call that made them, and inputs that are still what they were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prefect import task

from storage import arrays, uris
from storage.calls import read_call
from storage.cells import planned_shards
from storage.datasets import is_of_version
from storage.errors import Damage, StorageError
from storage.known import by_content
from storage.latents import LatentStore
from storage.metrics import shard_uri
from storage.plan import load_plan
from tasks.jobs import EditJob, FreeJob, InvertJob, PrecomputeJob


@dataclass(frozen=True)
class Repair:
    """Shards that can be made again, and why others cannot."""

    shards: tuple[int, ...]
    refused: tuple[Damage, ...]


@task(name="prepare repair", task_run_name="prepare repair of {run}")
def prepare_repair(run: str, damages: Iterable[Damage]) -> Repair:
    """Which shards to do again; damaged shards of codes are taken away, so that they count as not done.

    A shard is left alone when an input of it is gone or changed: to do it again would turn sound rows into failed ones.
    """
    damages = list(damages)
    shards = {shard.number: shard for shard in planned_shards(run)}
    refused = [damage for damage in damages if damage.shard is None]
    wanted = sorted({damage.shard for damage in damages if damage.shard is not None})
    good = []
    for number in wanted:
        shard = shards[number]
        images = by_content(run, shard.flow, shard.run, number, shard.images)
        lost = [
            image.path
            for image in images
            if image.path and uris.exists(image.path) and not uris.is_folder(image.path)
            and not is_of_version(image.path, image.version)
        ]  # fmt: skip
        lost += [image.path for image in images if image.path and not uris.exists(image.path)]
        refused += [
            Damage(path, f"is gone or changed, so that shard {number} cannot be done again: restore it")
            for path in lost
        ]
        if not lost:
            good.append(number)
    codes = uris.join(run, "latents.zarr")
    if any(damage.file.startswith(codes + "/") for damage in damages):
        LatentStore.open(codes).discard(
            [damage for damage in damages if damage.file.startswith(codes + "/") and damage.shard in good]
        )
    return Repair(tuple(good), tuple(refused))


def edit_job(run: str) -> EditJob:
    """The job that a run's call describes. Raises StoreCorrupt when the call is not there."""
    return EditJob(**read_call(run, "edit"))


def invert_job(run: str) -> InvertJob:
    """The job that a run's call describes. Raises StoreCorrupt when the call is not there."""
    return InvertJob(**read_call(run, "invert"))


def free_job(run: str) -> tuple[FreeJob, dict[str, str]]:
    """The job of a free generation and its targets, name → words; its only shard counts as not done from now on."""
    job, plan = FreeJob(**read_call(run, "free-generation")), load_plan(run)
    assert plan is not None, run
    uris.remove(shard_uri(run, "free-generation", plan.run_id, 0))
    return job, dict(plan.fingerprint["targets"])


def precompute_job(store: str) -> PrecomputeJob:
    """The job that made a directions store. Raises StorageError for imported ones and those of older versions."""
    call = (arrays.attributes(store) or {}).get("call")
    if call is None:
        raise StorageError(
            f"{store} does not say how it was made: run the same precompute command again, which mends it, or the "
            "same import"
        )
    return PrecomputeJob(**{**call, "output": store})
