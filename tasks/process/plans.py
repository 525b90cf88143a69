"""What every run that works in shards does with its plan: what decides it, what is written, what is left of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from storage.errors import StoreCorrupt
from storage.metrics import finished_shards
from storage.plan import Generation, load_plan, shard_of
from styleclip.bundles.load import Bundle
from styleclip.settings import Precision
from tasks.jobs import FolderJob
from tasks.process.models import bundle
from tasks.process.units import WORKER_DIED, Sight


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


def plan_of(run_dir: str) -> Generation:
    """The latest plan that a run has written. Raises StoreCorrupt when somebody has taken it away."""
    plan = load_plan(run_dir)
    if plan is None:
        raise StoreCorrupt(
            f"{run_dir}/plan.json is gone: run the same command again, it writes the plan anew"
        )
    return plan


def missing_shards(run_dir: str, flow: str) -> list[int]:
    """Shards of the latest plan without a commit, in order: it holds whatever earlier ones had not finished."""
    plan = plan_of(run_dir)
    return sorted(set(range(plan.first_shard, plan.end)) - finished_shards(run_dir, flow, plan.run_id))


def sees(models: Bundle, output: str) -> Sight:
    """What this process sees of a run: the program, the weights, and what identifies the run in its output."""
    return Sight(package_version(), tuple(sorted(models.fingerprint.items())), output)


def look(job: FolderJob) -> Sight:
    """Load the models, and look at the output of a run that has a plan."""
    models, plan = bundle(job.bundle, job.device), load_plan(job.output)
    return sees(models, plan.run_id if plan else f"no plan in {job.output}")


def shard_ids(job: FolderJob, shard: int) -> list[str]:
    """The images of a shard."""
    return [image.id for image in shard_of(job.output, shard).images]


def try_image(work: Callable[..., object], job: FolderJob, shard: int, position: int) -> None:
    """All the `work` on one image of a shard, the others being lost, and without the commit: to find out whether it
    kills its process."""
    others = set(range(len(shard_ids(job, shard)))) - {position}
    work(job, shard, dict.fromkeys(others, WORKER_DIED), commit=False)
