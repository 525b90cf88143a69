"""What a finished run amounts to: counts, a table per edit, and a few pictures to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from storage import uris
from storage.metrics import read_metrics
from tasks.process.plans import plan_of

MEANS = {
    "CLIP gain": "clip_gain",
    "direction": "directional_similarity",
    "identity": "identity_reconstruction_edit",
    "pixels": "distance_reconstruction_edit",
    "clipped": "clipped_share",
}
"""Column of the table → metric that it is the mean of."""

STRENGTHS = {
    "method": "method",
    "alpha": "alpha",
    "channels": "channels_used",
    "λ_L2": "lambda_l2",
    "λ_ID": "lambda_id",
}
"""Column of the table → metric that says how an edit was made; left out where it says nothing, or the same of all."""

SHOWN_IMAGES, SHOWN_EDITS = 6, 8


def rows_of(run: str, flow: str) -> pd.DataFrame:
    """The rows of the run that the folder's plan describes, in no particular order."""
    rows = read_metrics(run)
    return rows[(rows["flow"] == flow) & (rows["run"] == plan_of(run).run_id)]


def count_rows(run: str, flow: str) -> dict[str, Any]:
    """{run, rows, ok, failed, reasons}: reasons is a short text such as "3 Truncated, 1 Empty" about files."""
    rows = rows_of(run, flow)
    failed = rows[rows["status"] == "failed"]
    reasons = failed.drop_duplicates(["image_id", "error_class"])["error_class"].value_counts()
    return {
        "run": run,
        "rows": len(rows),
        "ok": len(rows) - len(failed),
        "failed": len(failed),
        "reasons": ", ".join(f"{count} {name}" for name, count in reasons.items()),
    }


def edit_table(run: str) -> list[dict[str, Any]]:
    """One dictionary per edit, in the order of the plan: edit, strengths, n images, and the means over them."""
    rows = rows_of(run, "edit")
    shown = {title: column for title, column in STRENGTHS.items() if rows[column].notna().any()}
    if rows["method"].nunique() == 1:
        del shown["method"]
    table = []
    for edit in plan_of(run).edits:
        of_edit = rows[rows["edit"] == edit["name"]]
        good = of_edit[of_edit["status"] == "ok"]
        line = {"edit": edit["name"]}
        line |= {title: _plain(of_edit.iloc[0][column]) for title, column in shown.items()}
        line |= {"n": len(good)} | {title: _mean(good[column]) for title, column in MEANS.items()}
        table.append(line)
    return table


def halved_batches(run: str, asked: int) -> dict[str, int]:
    """Edit → the smallest batch that it was done in, for edits that ran out of memory at `asked` images."""
    rows = rows_of(run, "edit")
    smaller = rows[rows["batch"] < asked]
    return {str(name): int(size) for name, size in smaller.groupby("edit")["batch"].min().items()}


def _plain(value: Any) -> Any:
    """A cell of a data frame as Python has it; None for null."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _mean(values: pd.Series[float]) -> float | None:
    mean = values.mean()
    return None if pd.isna(mean) else float(mean)


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures to look at: rows[image][column]; None where a file is not there."""

    captions: list[str]
    rows: list[list[bytes | None]]


def sample_pictures(run: str) -> Pictures:
    """The first images of a run that could be edited, each with its first edits."""
    rows = rows_of(run, "edit")
    good = sorted(rows[rows["status"] == "ok"]["image_id"].unique())[:SHOWN_IMAGES]
    edits = [edit["name"] for edit in plan_of(run).edits][:SHOWN_EDITS]
    folders = [name for name in ("source", "reconstruction") if uris.exists(uris.join(run, "images", name))]
    columns = folders + edits
    return Pictures(columns, [[_picture(run, column, image) for column in columns] for image in good])


def _picture(run: str, folder: str, image: str) -> bytes | None:
    try:
        return uris.read_bytes(uris.join(run, "images", folder, f"{image}.png"))
    except FileNotFoundError:
        return None
