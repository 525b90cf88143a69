"""The immutable plan of a run: what will be done, and under which models and parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from storage import uris
from storage.errors import PlanMismatch, StoreCorrupt

PLAN_VERSION = 1


@dataclass(frozen=True)
class PlannedImage:
    """An input: id, path, and the hash of its content when the plan was made."""

    id: str
    path: str
    hash: str


@dataclass(frozen=True)
class RunPlan:
    """Sorted inputs × edits in fixed shards, and the fingerprint of every model and parameter."""

    images: tuple[PlannedImage, ...]
    edits: tuple[Mapping[str, Any], ...]
    shard_size: int
    fingerprint: Mapping[str, Any]

    @property
    def shards(self) -> list[tuple[PlannedImage, ...]]:
        """The images of each shard."""
        return [self.images[i : i + self.shard_size] for i in range(0, len(self.images), self.shard_size)]

    def to_json(self) -> str:
        """Readable, and stable: the same plan gives the same text."""
        body = {"version": PLAN_VERSION, **asdict(self)}
        return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """Inverse of `to_json`."""
        body = json.loads(text)
        return cls(
            tuple(PlannedImage(**image) for image in body["images"]),
            tuple(body["edits"]),
            body["shard_size"],
            body["fingerprint"],
        )


def _path(run_dir: str) -> str:
    return uris.join(run_dir, "plan.json")


def load_plan(run_dir: str) -> RunPlan | None:
    """The plan of a run folder, None when there is none. Raises StoreCorrupt when it cannot be read."""
    if not uris.exists(_path(run_dir)):
        return None
    try:
        return RunPlan.from_json(uris.read_bytes(_path(run_dir)).decode("utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(
            f"{_path(run_dir)} cannot be read as a plan ({error}); use another output folder"
        ) from error


def keep_plan(run_dir: str, plan: RunPlan) -> bool:
    """Write the plan of a new run, or check that the folder's plan is this one; True when the run is continued.

    Raises PlanMismatch, naming what differs, when the folder belongs to another run.
    """
    earlier = load_plan(run_dir)
    if earlier is None:
        uris.write_bytes(_path(run_dir), plan.to_json().encode("utf-8"))
        return False
    differences = compare(json.loads(earlier.to_json()), json.loads(plan.to_json()))
    if differences:
        shown = "; ".join(differences[:3]) + (
            f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        )
        raise PlanMismatch(
            f"{run_dir} belongs to another run ({shown}): choose another output folder, "
            "or repeat the earlier call to continue it"
        )
    return True


def compare(earlier: Any, now: Any, at: str = "") -> list[str]:
    """Human-readable differences of two JSON values."""
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        found = []
        for key in sorted({*earlier, *now}):
            found += compare(earlier.get(key), now.get(key), f"{at}.{key}" if at else str(key))
        return found
    if isinstance(earlier, list) and isinstance(now, list) and len(earlier) != len(now):
        return [f"{at}: {len(earlier)} before, {len(now)} now"]
    if isinstance(earlier, Sequence) and isinstance(now, Sequence) and not isinstance(earlier, str):
        return [
            line
            for index, (a, b) in enumerate(zip(earlier, now, strict=True))
            for line in compare(a, b, f"{at}[{index}]")
        ]
    return [] if earlier == now else [f"{at} was {_short(earlier)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"
