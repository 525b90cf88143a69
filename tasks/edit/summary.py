"""What a finished run amounts to: counts, a line per edit, and a few pictures to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage import uris
from storage.errors import ImageError, StorageError
from storage.images import decode_image, read_image
from storage.plan import Generation
from storage.reading import Rows
from tasks.jobs import EditJob
from tasks.process.plans import plan_of
from tasks.process.sheets import picture_grid

SHOWN_IMAGES, SHOWN_EDITS = 6, 8


@dataclass(frozen=True)
class RunCounts:
    """Rows of the run in the folder `run`; reasons: a short text about its files such as "3 Truncated, 1 Empty"."""

    run: str
    rows: int
    ok: int
    failed: int
    reasons: str


@dataclass(frozen=True)
class EditLine:
    """One edit: how it was made (None: of no meaning for its method), and means over its `n` good images.

    alpha is the mean where every image has its own, and `reached` then the share of the images that came to the aim.
    """

    edit: str
    method: str | None
    alpha: float | None
    channels: int | None
    lambda_l2: float | None
    lambda_id: float | None
    reached: float | None
    n: int
    clip_gain: float | None
    directional_similarity: float | None
    identity: float | None
    pixels: float | None
    clipped: float | None


MEANS = {
    "clip_gain": "clip_gain",
    "directional_similarity": "directional_similarity",
    "identity": "identity_reconstruction_edit",
    "pixels": "distance_reconstruction_edit",
    "clipped": "clipped_share",
}
"""Field of a line → metric that it is the mean of."""

OPTIONAL = ("alpha", "channels", "lambda_l2", "lambda_id", "reached")
"""Fields that are left out where no edit has them."""

STRENGTHS = {
    "method": "method",
    "alpha": "alpha",
    "channels": "channels_used",
    "lambda_l2": "lambda_l2",
    "lambda_id": "lambda_id",
}
"""Field of a line → metric that says how an edit was made."""

_COLUMNS = [
    "image_id",
    "edit",
    "status",
    "error_class",
    "batch",
    "reached",
    *STRENGTHS.values(),
    *MEANS.values(),
]

TITLES = {
    "clip_gain": "CLIP gain",
    "directional_similarity": "direction",
    "lambda_l2": "λ_L2",
    "lambda_id": "λ_ID",
}


def titled(lines: Sequence[EditLine]) -> list[dict[str, Any]]:
    """Lines as a table for people: without strengths that say nothing, or a method that is the same of all."""
    rows = [asdict(line) for line in lines]
    left_out = {name for name in OPTIONAL if all(row[name] is None for row in rows)}
    if len({row["method"] for row in rows}) == 1:
        left_out.add("method")
    return [
        {TITLES.get(name, name): value for name, value in row.items() if name not in left_out} for row in rows
    ]


@dataclass(frozen=True)
class EditSummary(RunCounts):
    """An edit run; halved_batches: edit → the smallest batch it was done in where memory ran out, unknown_words: words
    that the CLIP was never trained on, misfit: a warning where the images are not what the bundle knows."""

    images: int
    edits: int
    shards: int
    shards_done_before: int
    skipped_files: int
    unknown_words: list[str]
    halved_batches: dict[str, int]
    table: list[EditLine]
    misfit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, the table as people see it."""
        return asdict(self) | {"table": titled(self.table)}


@dataclass
class OfEdit:
    """What the rows of one edit amount to: how many are ok, the first row's strengths, sum and count of measures."""

    ok: int = 0
    strengths: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    batch: int | None = None

    def add(self, rows: pa.Table) -> None:
        """Count some more rows of the edit."""
        if not self.strengths:
            self.strengths = {name: rows[column][0].as_py() for name, column in STRENGTHS.items()}
        batches = [size for size in (self.batch, pc.min(rows["batch"]).as_py()) if size is not None]
        self.batch = min(batches, default=None)
        good = rows.filter(pc.equal(rows["status"], "ok"))
        self.ok += len(good)
        searched = good.filter(pc.is_valid(good["reached"]))  # every image has its own strength there
        for name, values in [
            *((name, good[column]) for name, column in MEANS.items()),
            ("alpha", searched["alpha"]),
            ("reached", pc.cast(searched["reached"], pa.float64())),
        ]:
            self.sums[name] = self.sums.get(name, 0.0) + (pc.sum(values).as_py() or 0.0)
            self.counts[name] = self.counts.get(name, 0) + len(values) - values.null_count

    def mean(self, name: str) -> float | None:
        """The mean of a measure over the good images; None where it was not measured."""
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None


@dataclass
class FinishedRun:
    """What the present rows of a run amount to; as large as its edits and failures are many, whatever its rows.

    failures: error class → ids of images; good: the first images that could be edited.
    """

    run: str
    plan: Generation
    rows: int = 0
    failed: int = 0
    failures: dict[str, set[str]] = field(default_factory=dict)
    edits: dict[str, OfEdit] = field(default_factory=dict)
    good: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, run: str) -> FinishedRun:
        """One pass over the rows of the run that the folder's plan describes, batch by batch."""
        found = cls(run, plan_of(run))
        for batch in Rows(run, planned=True).batches(_COLUMNS):
            found._add(batch)
        return found

    def _add(self, batch: pa.Table) -> None:
        self.rows += len(batch)
        lost = batch.filter(pc.equal(batch["status"], "failed"))
        self.failed += len(lost)
        for id_, name in zip(lost["image_id"].to_pylist(), lost["error_class"].to_pylist(), strict=True):
            self.failures.setdefault(name, set()).add(id_)
        for name in pc.unique(batch["edit"]).to_pylist():
            self.edits.setdefault(name, OfEdit()).add(batch.filter(pc.equal(batch["edit"], name)))
        good = pc.unique(batch.filter(pc.equal(batch["status"], "ok"))["image_id"]).to_pylist()
        self.good = sorted({*self.good, *good})[:SHOWN_IMAGES]

    def counts(self) -> RunCounts:
        """How many rows there are, and why some failed."""
        reasons = sorted(self.failures.items(), key=lambda each: -len(each[1]))
        return RunCounts(
            run=self.run,
            rows=self.rows,
            ok=self.rows - self.failed,
            failed=self.failed,
            reasons=", ".join(f"{len(images)} {name}" for name, images in reasons),
        )

    def table(self) -> list[EditLine]:
        """One line per edit, in the order of the plan."""
        lines = []
        for edit in self.plan.edits:
            found = self.edits.get(edit["name"], OfEdit())
            made: dict[str, Any] = {name: found.strengths.get(name) for name in STRENGTHS}
            means: dict[str, Any] = {name: found.mean(name) for name in (*MEANS, "reached")}
            if (alpha := found.mean("alpha")) is not None:
                made["alpha"] = alpha
            lines.append(EditLine(edit=edit["name"], n=found.ok, **made, **means))
        return lines

    def halved_batches(self, asked: int) -> dict[str, int]:
        """Edit → the smallest batch that it was done in, for edits that ran out of memory at `asked` images."""
        sizes = ((name, each.batch) for name, each in sorted(self.edits.items()))
        return {name: size for name, size in sizes if size is not None and size < asked}


def summarise(
    job: EditJob, images: int, shards: int, done_before: int, skipped: int, unknown_words: list[str]
) -> tuple[EditSummary, bytes | None]:
    """What came of an edit run, and its sample pictures as JPEG, which are also written to grid.jpg; None: no picture.

    done_before: shards that were finished before this attempt.
    """
    finished = FinishedRun.read(job.output)
    summary = EditSummary(
        **asdict(finished.counts()),
        images=images,
        edits=len(finished.plan.edits),
        shards=shards,
        shards_done_before=done_before,
        skipped_files=skipped,
        unknown_words=unknown_words,
        halved_batches=finished.halved_batches(job.batch),
        table=finished.table(),
    )
    return summary, _write_grid(finished)


def _write_grid(finished: FinishedRun) -> bytes | None:
    """The first images that could be edited, each with its first edits."""
    if not finished.good:
        return None
    folders = [
        name for name in ("source", "reconstruction") if uris.exists(uris.join(finished.run, "images", name))
    ]
    columns = folders + [edit["name"] for edit in finished.plan.edits][:SHOWN_EDITS]
    pictures = [[_picture(finished.run, column, image) for column in columns] for image in finished.good]
    buffer = io.BytesIO()
    picture_grid(pictures, columns).save(buffer, "JPEG", quality=92)
    with suppress(
        StorageError
    ):  # on a disk that is full or read-only a finished run is finished all the same
        uris.write_bytes(uris.join(finished.run, "grid.jpg"), buffer.getvalue())
    return buffer.getvalue()


def _picture(run: str, folder: str, image: str) -> bytes | None:
    try:
        data = read_image(uris.join(run, "images", folder, f"{image}.png"))
        decode_image(data, None)
    except ImageError:  # lost or damaged since, which `styleclip verify` tells; no reason to end a run
        return None
    return data
