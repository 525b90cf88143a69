"""Rows that failed, so that they can be done again."""

from __future__ import annotations

from dataclasses import dataclass

from storage.metrics import finished_shards, read_metrics
from storage.plan import RunPlan


@dataclass(frozen=True)
class Failures:
    """Of a run: ids of the images whose rows all failed, and numbers of the shards that hold a failed row."""

    images: frozenset[str] = frozenset()
    shards: frozenset[int] = frozenset()


def failures_of(run_dir: str, flow: str, run: str, plan: RunPlan) -> Failures:
    """What failed in the finished shards of a run. Raises StoreCorrupt when a file of metrics cannot be read."""
    if not finished_shards(run_dir, flow, run):
        return Failures()
    rows = read_metrics(run_dir)
    rows = rows[(rows["flow"] == flow) & (rows["run"] == run)]
    failed = rows["status"].eq("failed").groupby(rows["image_id"])
    some, every = failed.any(), failed.all()
    touched = set(some.index[some])
    return Failures(
        images=frozenset(every.index[every]),
        shards=frozenset(
            number
            for number, images in enumerate(plan.shards)
            if any(image.id in touched for image in images)
        ),
    )
