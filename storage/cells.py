"""The cells, (image, edit), that a run has planned, shard by shard: what its folder must hold."""

from __future__ import annotations

from dataclasses import dataclass

from storage import uris
from storage.errors import StorageError
from storage.plan import PlannedImage, load_plan

_NO_EDIT = "inversion"
"""What stands in the edit column of an inversion."""


@dataclass(frozen=True)
class PlannedShard:
    """A shard of a run: flow and run name its files; edits: names, none where each image is an edit of its own."""

    flow: str
    run: str
    number: int
    images: tuple[PlannedImage, ...]
    edits: tuple[str, ...]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(image id, edit) of every row that the shard must have."""
        if self.flow == "free-generation":
            return [(image.id, image.id) for image in self.images]
        return [(image.id, edit) for image in self.images for edit in self.edits or (_NO_EDIT,)]


def planned_shards(run_dir: str) -> list[PlannedShard]:
    """Every shard of a run folder. Raises StorageError where there is no plan, StoreCorrupt for a damaged one."""
    plan = load_plan(run_dir)
    if plan is None:
        raise StorageError(
            f"{run_dir} holds no plan.json: give the output folder of edit, optimize or invert"
        )
    flow, edits = str(plan.fingerprint["flow"]), tuple(str(edit["name"]) for edit in plan.edits)
    return [
        PlannedShard(flow, plan.run_id, number, images, edits) for number, images in enumerate(plan.shards)
    ]


def curves_part(shard: int) -> str:
    """The name under which the curves of a shard are kept."""
    return f"shard-{shard:05d}"


def has_plan(run_dir: str) -> bool:
    """Whether a folder is that of a run with a plan."""
    return uris.exists(uris.join(run_dir, "plan.json"))
