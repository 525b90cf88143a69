"""An edit run's shards as units of work that any process can do."""

from __future__ import annotations

from tasks.edit.shard import edit_shard
from tasks.jobs import EditJob
from tasks.process.models import bundle
from tasks.process.plans import all_but, ids_of, missing_shards, sight_of
from tasks.process.units import Sight, Split, Unit


def look(job: EditJob) -> Sight:
    """Load the models, and look at the output."""
    return sight_of(bundle(job.bundle, job.device), job.output)


def missing_edits(job: EditJob) -> list[int]:
    """Shards without a commit."""
    return missing_shards(job.output, "edit")


def shard_ids(job: EditJob, shard: int) -> list[str]:
    """The images of a shard."""
    return ids_of(job.output, shard)


def try_image(job: EditJob, shard: int, position: int) -> None:
    """All the work on one image of a shard, without the commit."""
    edit_shard(job, shard, all_but(job.output, shard, position), commit=False)


EDIT = Unit(
    name="edit shard",
    noun="shard",
    work=edit_shard,
    sight=look,
    missing=missing_edits,
    split=Split(shard_ids, try_image, edit_shard),
)
