"""What every run that works in shards does with its plan: what decides it, what is written, what is left of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from storage.datasets import ImageFolder, content_hash
from storage.errors import Failure, StoreCorrupt
from storage.failures import Failures, failures_of
from storage.metrics import finished_shards
from storage.plan import PlannedImage, RunPlan, load_plan
from styleclip.bundles.load import Bundle
from styleclip.settings import Precision
from tasks.process.units import WORKER_DIED, Sight

HASHERS = 8
"""Threads that read files for their hashes: reading waits for disks and networks, not for this processor."""


@dataclass(frozen=True)
class ShardDone:
    """What a shard's task says of it: how many of its rows are good, and how many have failed."""

    shard: int
    ok: int
    failed: int


def package_version() -> str:
    """The version of this program."""
    return version("styleclip-flows")


def fingerprint_of(flow: str, models: Bundle, precision: Precision) -> dict[str, Any]:
    """What decides the numbers of every run: the program, its arithmetic, the weights.

    Not the device and not the batch: they change last bits only.
    """
    return {
        "flow": flow,
        "package_version": package_version(),
        "precision": precision,
        "bundle": models.name,
        "weights": dict(models.fingerprint),
    }


def settings_of(models: Bundle) -> dict[str, Any]:
    """What a bundle's file says that decides how words are embedded and how far channels vary."""
    templates = json.dumps(list(models.templates)).encode()
    return {
        "templates": hashlib.sha256(templates).hexdigest()[:16],
        "truncation_psi": models.truncation_psi,
    }


def plan_of(run_dir: str) -> RunPlan:
    """The plan that a run has written. Raises StoreCorrupt when somebody has taken it away."""
    plan = load_plan(run_dir)
    if plan is None:
        raise StoreCorrupt(
            f"{run_dir}/plan.json is gone: run the same command again, it writes the plan anew"
        )
    return plan


def plan_for(
    folder: ImageFolder, edits: Sequence[Mapping[str, Any]], shard_size: int, fingerprint: Mapping[str, Any]
) -> RunPlan:
    """The plan over a folder: its images with their content hashes."""
    return RunPlan(tuple(hashed(folder)), tuple(edits), shard_size, fingerprint)


def hashed(folder: ImageFolder) -> list[PlannedImage]:
    """The images of a folder with their content hashes."""
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = list(pool.map(content_hash, [ref.path for ref in folder.images]))
    return [PlannedImage(ref.id, ref.path, digest) for ref, digest in zip(folder.images, hashes, strict=True)]


def missing_shards(run_dir: str, flow: str, plan: RunPlan, again: Collection[int] = ()) -> list[int]:
    """Shards without a commit, and those to do again, in order."""
    return sorted(set(range(len(plan.shards))) - finished_shards(run_dir, flow, plan.run_id) | set(again))


def to_retry(run_dir: str, flow: str, wanted: bool) -> Failures:
    """What failed before in a run folder, if it is wanted; nothing in a new folder."""
    plan = load_plan(run_dir) if wanted else None
    return failures_of(run_dir, flow, plan.run_id, plan) if plan else Failures()


def sight_of(models: Bundle, run_dir: str) -> Sight:
    """What this process sees of a run that has a plan: the program, the weights, the folder."""
    plan = load_plan(run_dir)
    where = plan.run_id if plan else f"no plan in {run_dir}"
    return Sight(package_version(), tuple(sorted(models.fingerprint.items())), where)


def ids_of(run_dir: str, shard: int) -> list[str]:
    """The images of a shard."""
    return [image.id for image in plan_of(run_dir).shards[shard]]


def all_but(run_dir: str, shard: int, position: int) -> dict[int, Failure]:
    """All other images of a shard, as lost ones: to find out which of them kills its process."""
    others = set(range(len(ids_of(run_dir, shard)))) - {position}
    return dict.fromkeys(others, WORKER_DIED)
