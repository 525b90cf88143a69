"""The immutable plan of a run: what will be done, and under which models and parameters."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from storage import durable, uris
from storage.errors import PlanMismatch, StorageError, StoreCorrupt

PLAN_VERSION = 1
_SHOWN = 3


@dataclass(frozen=True)
class PlannedImage:
    """An input: id, path, and the hash of its content when the plan was made."""

    id: str
    path: str
    hash: str


@dataclass(frozen=True)
class RunPlan:
    """Inputs, sorted by id, × edits in fixed shards, and the fingerprint of every model and parameter.

    mended: id → the hash that an image had at first, for images whose content was replaced after they had failed.
    Raises StorageError when two images have one id, or when the shard size is below 1.
    """

    images: tuple[PlannedImage, ...]
    edits: tuple[Mapping[str, Any], ...]
    shard_size: int
    fingerprint: Mapping[str, Any]
    mended: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise StorageError(f"shard_size is {self.shard_size}: at least one image must be in a shard")
        twice = [id_ for id_, times in Counter(image.id for image in self.images).items() if times > 1]
        if twice:
            raise StorageError(f"two images of the plan have the id '{twice[0]}': give every image its own")
        # Sorted here, so that shards are the same whoever lists the folder.
        object.__setattr__(self, "images", tuple(sorted(self.images, key=lambda image: image.id)))
        object.__setattr__(self, "edits", tuple(self.edits))

    @functools.cached_property
    def shards(self) -> list[tuple[PlannedImage, ...]]:
        """The images of each shard."""
        return [self.images[i : i + self.shard_size] for i in range(0, len(self.images), self.shard_size)]

    @property
    def original(self) -> RunPlan:
        """The plan as it was first written, whatever was mended since."""
        if not self.mended:
            return self
        images = [replace(image, hash=self.mended.get(image.id, image.hash)) for image in self.images]
        return replace(self, images=tuple(images), mended={})

    @functools.cached_property
    def run_id(self) -> str:
        """Short name of a run, the same for every attempt at the same plan, wherever its images are found, and whatever
        was mended since it was first written."""
        images = [{"id": each.id, "hash": each.hash} for each in self.original.images]
        return hashlib.sha256(self._text({"images": images})).hexdigest()[:12]

    def to_json(self) -> str:
        """Readable, and stable: the same plan gives the same text, in ASCII."""
        mended = {"mended": dict(self.mended)} if self.mended else {}
        return self._text({"images": [vars(image) for image in self.images], **mended}).decode()

    def _text(self, images: Mapping[str, Any]) -> bytes:
        body = {
            "version": PLAN_VERSION,
            "edits": [dict(edit) for edit in self.edits],
            "shard_size": self.shard_size,
            "fingerprint": dict(self.fingerprint),
            **images,
        }
        return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode()

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        body = json.loads(text)
        if body["version"] != PLAN_VERSION:
            raise ValueError(f"it is of version {body['version']}, this program reads {PLAN_VERSION}")
        return cls(
            tuple(PlannedImage(**image) for image in body["images"]),
            tuple(body["edits"]),
            body["shard_size"],
            body["fingerprint"],
            dict(body.get("mended", {})),
        )


def _path(run_dir: str) -> str:
    return uris.join(run_dir, "plan.json")


def load_plan(run_dir: str) -> RunPlan | None:
    """The plan of a run folder, None when there is none. Raises StoreCorrupt when it cannot be read.

    While its file stays as it is every call of a process gives the same object: each shard asks for it.
    """
    if (stamp := uris.stamp_of(_path(run_dir))) is None:
        return None
    try:
        return _parsed(run_dir, stamp)
    except (FileNotFoundError, NotADirectoryError):  # taken away since
        return None


@functools.lru_cache(maxsize=2)
def _parsed(run_dir: str, _stamp: object) -> RunPlan:
    text = uris.read_bytes(_path(run_dir))
    try:
        return RunPlan.from_json(text.decode("utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError, StorageError) as error:
        raise StoreCorrupt(
            f"{_path(run_dir)} cannot be read as a plan ({error}): use another output folder"
        ) from error


def keep_plan(run_dir: str, plan: RunPlan, failed: Collection[str] = ()) -> bool:
    """Write the plan of a new run, or check that the folder's plan is this one; True when the run is continued.

    `failed`: ids of images that are to be tried again and may have another content now. Their hashes are then replaced
    in the written plan, and nothing else. That is sound as long as every row of theirs has failed: nothing in the
    folder was made of the former content, and the shards that hold them are done again as a whole.

    Of two runs that begin at once in one folder one writes its plan, and the other is checked against it. An image is
    known by its id and content: where the same ones are found at other paths, the plan takes these. Leftovers of
    killed writers are swept away. Raises PlanMismatch, naming what differs, when the folder belongs to another run.
    """
    earlier = load_plan(run_dir)
    if earlier is None:
        if uris.write_new(_path(run_dir), plan.to_json().encode("ascii")):
            return False
        earlier = load_plan(run_dir)
        if earlier is None:
            raise StoreCorrupt(
                f"{_path(run_dir)} was taken away while it was read: run the same command again"
            )
    mended = _with_content_of(earlier, plan, failed)
    if differences := _differences(mended, plan):
        raise PlanMismatch(
            f"{run_dir} belongs to another run ({listed(differences)}): choose another output folder, "
            "or repeat the earlier call to continue it"
        )
    now = replace(mended, images=plan.images)
    if now != earlier:
        uris.write_bytes(_path(run_dir), now.to_json().encode(), commit=True)
    if not uris.is_remote(run_dir):
        durable.sweep(uris.local_path(run_dir))
    return True


def _with_content_of(earlier: RunPlan, now: RunPlan, ids: Collection[str]) -> RunPlan:
    """`earlier` with the hashes that these images have in `now`; what they were at first is kept."""
    if not ids:
        return earlier
    hashes = {image.id: image.hash for image in now.images if image.id in ids}
    changed = {
        image.id: image.hash for image in earlier.images if hashes.get(image.id, image.hash) != image.hash
    }
    return replace(
        earlier,
        images=tuple(replace(image, hash=hashes.get(image.id, image.hash)) for image in earlier.images),
        mended=changed | dict(earlier.mended),
    )


def listed(differences: Sequence[str]) -> str:
    """The first differences on one line, and how many more there are."""
    more = len(differences) - _SHOWN
    return "; ".join(differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _differences(earlier: RunPlan, now: RunPlan) -> list[str]:
    found = compare(earlier.fingerprint, now.fingerprint)
    found += compare(earlier.shard_size, now.shard_size, "shard_size")
    found += compare(earlier.edits, now.edits, "edits")
    before, after = ({image.id: image for image in plan.images} for plan in (earlier, now))
    found += [f"image '{id_}' is gone" for id_ in before if id_ not in after]
    found += [f"image '{id_}' is new" for id_ in after if id_ not in before]
    for id_ in before:
        if id_ in after and before[id_].hash != after[id_].hash:
            found.append(f"the content of image '{id_}' has changed")
    return found


def compare(earlier: Any, now: Any, at: str = "") -> list[str]:
    """Human-readable differences of two JSON values; tuples count as lists, as they come back from a file."""
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        found = []
        for key in sorted({*earlier, *now}, key=str):
            found += compare(earlier.get(key), now.get(key), f"{at}.{key}" if at else str(key))
        return found
    if isinstance(earlier, list | tuple) and isinstance(now, list | tuple):
        if len(earlier) != len(now):
            return [f"{at}: {len(earlier)} before, {len(now)} now"]
        return [
            line
            for index, (a, b) in enumerate(zip(earlier, now, strict=True))
            for line in compare(a, b, f"{at}[{index}]")
        ]
    # Not a number is not equal to itself, and means the same all the same.
    same = earlier == now or (earlier != earlier and now != now)
    return [] if same else [f"{at} was {_short(earlier)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:39] + "…"
