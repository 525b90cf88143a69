"""What goes into an export: accepted rows, their split, the pack that each is in. Rows are read a shard at a time."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

from storage import parquet, uris
from storage.accept import Accept
from storage.errors import StorageError
from storage.metrics import SCHEMA
from storage.plan import load_plan
from storage.rows import row_batches
from storage.run_card import keep_card
from storage.splits import shares, split_of
from tasks.jobs import ExportJob

TOLD = (
    "image_id", "edit", "method", "neutral", "target", "alpha", "beta", "channels_used", "mapper", "steps", "seed",
    "clip_before", "clip_after", "clip_gain", "directional_similarity", "identity_source_reconstruction",
    "identity_reconstruction_edit", "distance_source_reconstruction", "distance_reconstruction_edit", "clipped_share",
    "input_hash", "input_digital_source_type", "input_has_c2pa", "bundle", "package_version",
)  # fmt: skip
"""Columns of the rows that an export carries."""
NEEDED = ("path", "output", "output_sha256", "reconstruction_sha256", "source_sha256")
"""Columns that packing needs besides."""


@dataclass(frozen=True)
class Pack:
    """Some rows of one split that are written together; `of` packs has the split."""

    split: str
    number: int
    of: int
    rows: int


@dataclass(frozen=True)
class Packs:
    """An export as planned: all packs, in order, and how many rows the run has and how many were accepted."""

    packs: tuple[Pack, ...]
    rows: int
    accepted: int


def rows_file(job: ExportJob, split: str, number: int) -> str:
    """Where the rows of a pack are kept while it is made; a dot, so that readers of the dataset pass over it."""
    return uris.join(job.output, ".packs", f"{split}-{number:05d}.parquet")


@task(name="plan export", task_run_name="plan export to {job.output}")
def plan_export(job: ExportJob) -> Packs:
    """Choose rows and write which pack they are in.

    Raises StorageError for a condition or split that is not understood and where no row is left, StoreCorrupt for
    damaged rows, PlanMismatch when the output folder holds another export.
    """
    accept, parts = Accept.parse(job.accept), shares(job.split)
    columns = list(dict.fromkeys([*TOLD, *NEEDED, "status", *accept.columns]))
    waiting: dict[str, list[pa.Table]] = {name: [] for name in parts}
    written: dict[str, list[int]] = {name: [] for name in parts}
    rows = accepted = 0
    kept = [*TOLD, *NEEDED]

    def write(split: str, last: bool) -> None:
        there = pa.concat_tables(
            [pa.schema([(name, SCHEMA.field(name).type) for name in kept]).empty_table(), *waiting[split]],
            promote_options="permissive",
        )
        while len(there) >= job.pack or (last and len(there)):
            part, there = there.slice(0, job.pack), there.slice(job.pack)
            uris.write_bytes(rows_file(job, split, len(written[split])), parquet.to_bytes(part))
            written[split].append(len(part))
        waiting[split] = [there]

    plan = load_plan(job.run)
    asked = job.model_dump(exclude={"run", "output"})
    keep_card(job.output, "export", asked | {"run_id": plan.run_id if plan else None})
    for table in row_batches(job.run, columns):
        rows += len(table)
        ok = pc.and_(pc.equal(table["status"], "ok"), pc.is_valid(table["output"]))
        good = table.filter(pc.and_(ok, pa.array(accept.mask(table))))
        accepted += len(good)
        splits = [split_of(image, parts) for image in good["image_id"].to_pylist()]
        for name in parts:
            mine = good.filter(pa.array([split == name for split in splits], pa.bool_()))
            waiting[name].append(mine.select(kept))
            if sum(map(len, waiting[name])) >= job.pack:
                write(name, last=False)
    if not accepted:
        raise StorageError(
            f"none of the {rows} rows of {job.run} is left to export"
            + (f": '{job.accept}' accepts none" if job.accept.strip() else "")
        )
    for name in parts:
        write(name, last=True)
    # rows that were done again since would make packs that do not belong together
    keep_card(uris.join(job.output, ".packs"), "rows", {"rows": rows, "accepted": accepted})
    packs = [
        Pack(name, number, len(sizes), size)
        for name, sizes in written.items()
        for number, size in enumerate(sizes)
    ]
    return Packs(tuple(packs), rows, accepted)
