"""An edit run's shards as units of work that any process can do."""

from __future__ import annotations

import functools

from tasks.edit.shard import edit_shard
from tasks.jobs import EditJob
from tasks.process.plans import look, missing_shards, shard_ids, try_image
from tasks.process.units import Split, Unit


def missing_edits(job: EditJob) -> list[int]:
    """Shards without a commit."""
    return missing_shards(job.output, "edit")


EDIT = Unit(
    name="edit shard",
    noun="shard",
    work=edit_shard,
    sight=look,
    missing=missing_edits,
    split=Split(shard_ids, functools.partial(try_image, edit_shard), edit_shard),
)
