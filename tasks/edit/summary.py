"""What a finished run amounts to: counts, a line per edit, and a few pictures to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from storage import uris
from storage.errors import ImageError, StorageError
from storage.images import decode_image, read_image
from storage.metrics import read_metrics
from storage.plan import RunPlan
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

    alpha is the median where every image has its own, and `reached` then the share of the images that came to the aim.
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
    that the CLIP was never trained on."""

    images: int
    edits: int
    shards: int
    shards_done_before: int
    skipped_files: int
    unknown_words: list[str]
    halved_batches: dict[str, int]
    table: list[EditLine]

    def to_json(self) -> dict[str, Any]:
        """Plain values, the table as people see it."""
        return asdict(self) | {"table": titled(self.table)}


@dataclass(frozen=True)
class FinishedRun:
    """The rows and the plan of a run folder, read once."""

    run: str
    plan: RunPlan
    rows: pd.DataFrame

    @classmethod
    def read(cls, run: str, flow: str) -> FinishedRun:
        """The rows of the run that the folder's plan describes, in no particular order."""
        rows, plan = read_metrics(run), plan_of(run)
        return cls(run, plan, rows[(rows["flow"] == flow) & (rows["run"] == plan.run_id)])

    def counts(self) -> RunCounts:
        """How many rows there are, and why some failed."""
        failed = self.rows[self.rows["status"] == "failed"]
        reasons = failed.drop_duplicates(["image_id", "error_class"])["error_class"].value_counts()
        return RunCounts(
            run=self.run,
            rows=len(self.rows),
            ok=len(self.rows) - len(failed),
            failed=len(failed),
            reasons=", ".join(f"{count} {name}" for name, count in reasons.items()),
        )

    def table(self) -> list[EditLine]:
        """One line per edit, in the order of the plan."""
        lines = []
        for edit in self.plan.edits:
            of_edit = self.rows[self.rows["edit"] == edit["name"]]
            good = of_edit[of_edit["status"] == "ok"]
            made: dict[str, Any] = {
                name: _plain(of_edit.iloc[0][column]) for name, column in STRENGTHS.items()
            }
            means: dict[str, Any] = {name: _mean(good[column]) for name, column in MEANS.items()}
            looked_for = good[good["reached"].notna()]
            means["reached"] = _mean(looked_for["reached"].astype(float))
            if len(looked_for):
                made["alpha"] = float(looked_for["alpha"].median())
            lines.append(EditLine(edit=edit["name"], n=len(good), **made, **means))
        return lines

    def halved_batches(self, asked: int) -> dict[str, int]:
        """Edit → the smallest batch that it was done in, for edits that ran out of memory at `asked` images."""
        smaller = self.rows[self.rows["batch"] < asked]
        return {str(name): int(size) for name, size in smaller.groupby("edit")["batch"].min().items()}


def summarise(
    job: EditJob, images: int, shards: int, done_before: int, skipped: int, unknown_words: list[str]
) -> tuple[EditSummary, bytes | None]:
    """What came of an edit run, and its sample pictures as JPEG, which are also written to grid.jpg; None: no picture.

    done_before: shards that were finished before this attempt.
    """
    finished = FinishedRun.read(job.output, "edit")
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
    good = sorted(finished.rows[finished.rows["status"] == "ok"]["image_id"].unique())[:SHOWN_IMAGES]
    if not good:
        return None
    folders = [
        name for name in ("source", "reconstruction") if uris.exists(uris.join(finished.run, "images", name))
    ]
    columns = folders + [edit["name"] for edit in finished.plan.edits][:SHOWN_EDITS]
    pictures = [[_picture(finished.run, column, image) for column in columns] for image in good]
    buffer = io.BytesIO()
    picture_grid(pictures, columns).save(buffer, "JPEG", quality=92)
    with suppress(
        StorageError
    ):  # a finished run on a disk that is full or read-only is finished all the same
        uris.write_bytes(uris.join(finished.run, "grid.jpg"), buffer.getvalue())
    return buffer.getvalue()


def _picture(run: str, folder: str, image: str) -> bytes | None:
    try:
        data = read_image(uris.join(run, "images", folder, f"{image}.png"))
        decode_image(data, None)
    except ImageError:  # lost or damaged since, which `styleclip verify` tells; no reason to end a run
        return None
    return data


def _plain(value: Any) -> Any:
    """A cell of a data frame as Python has it; None for null."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _mean(values: pd.Series[float]) -> float | None:
    mean = values.mean()
    return None if pd.isna(mean) else float(mean)
