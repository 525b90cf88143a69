"""What every run that works in shards does with its plan: what decides it, what is written, what is left of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from storage.errors import Failure, StoreCorrupt
from storage.metrics import finished_shards
from storage.plan import Generation, load_plan, shard_of
from styleclip.bundles.load import Bundle
from styleclip.settings import Precision
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


def sight_of(models: Bundle, run_dir: str) -> Sight:
    """What this process sees of a run that has a plan: the program, the weights, the folder."""
    plan = load_plan(run_dir)
    where = plan.run_id if plan else f"no plan in {run_dir}"
    return Sight(package_version(), tuple(sorted(models.fingerprint.items())), where)


def ids_of(run_dir: str, shard: int) -> list[str]:
    """The images of a shard."""
    return [image.id for image in shard_of(run_dir, shard).images]


def all_but(run_dir: str, shard: int, position: int) -> dict[int, Failure]:
    """All other images of a shard, as lost ones: to find out which of them kills its process."""
    others = set(range(len(ids_of(run_dir, shard)))) - {position}
    return dict.fromkeys(others, WORKER_DIED)
