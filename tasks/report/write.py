"""The page of a run as one file: everything in it, nothing fetched, at most 5 MB whatever the number of rows."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from prefect import task

from storage import uris
from storage.cells import has_plan, shard_sizes
from storage.errors import StorageError
from storage.metrics import shard_files
from tasks.report import charts
from tasks.report.choose import SHOWN_EDITS, comparisons, grids, samples
from tasks.report.gather import HIGH, LOW, METRICS, RULES, EditPart, Gathered, gather_rows
from tasks.report.tiles import ACROSS, PER_SHEET, TILE, Tiles

MAX_BYTES, PICTURE_BYTES, LISTED_EDITS, TIME_BINS = 5_000_000, 3_600_000, 150, 60
COLOURS = ("#4878a8", "#e49444", "#85b6b2", "#e7ca60", "#a87c9f")


@dataclass(frozen=True)
class Written:
    """A report: where it is, its size, the rows it tells of and the pictures that it shows."""

    file: str
    bytes: int
    rows: int
    pictures: int


@task(name="report", task_run_name="report on {run}")
def write_report(run: str) -> Written:
    """Write RUN/report.html. Raises StorageError when the folder holds no rows."""
    found = gather_rows(run)
    if not found.edits:
        raise StorageError(f"{run} holds no rows to report on: is it the output folder of a run?")
    paired = uris.exists(uris.join(run, "images", "reconstruction"))
    tiles = Tiles(run)
    shown = samples(found, tiles, paired)
    strengths, methods = grids(found, tiles), comparisons(found, tiles, paired)
    sheets = tiles.sheets(PICTURE_BYTES)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    environment.filters["figure"] = figure
    page = environment.from_string(files("tasks.report").joinpath("page.html").read_text(encoding="utf-8"))
    text = page.render(
        title=run.rstrip("/").rsplit("/", 1)[-1],
        run=run,
        found=found,
        figures=_figures(found, len(shown)),
        metrics=METRICS,
        edits=_edits(found),
        edit_names=list(dict.fromkeys(each.edit for each in shown)),
        samples=shown,
        shown_edits=min(SHOWN_EDITS, len(found.edits)),
        paired=paired,
        rules=", ".join(name for name, _, _ in RULES.values()),
        rule_names={key: name for key, (name, _, _) in RULES.items()},
        grids=strengths,
        comparisons=methods,
        stages=_stages(found),
        course=_course(run),
        lines=_lines(run),
        sheets=sheets,
        tile=_tile,
        data=_script({"samples": [asdict(each) for each in shown]}),
    )
    data = text.encode("utf-8", "backslashreplace")
    assert len(data) <= MAX_BYTES, len(data)
    uris.write_bytes(uris.join(run, "report.html"), data)
    return Written(uris.join(run, "report.html"), len(data), found.rows, len(shown))


def figure(value: Any) -> str:
    """A number as people read it; nothing for None."""
    if value is None or isinstance(value, jinja2.Undefined):
        return ""
    number = float(value)
    if not math.isfinite(number):
        return ""
    return (
        f"{number:.3f}"
        if 0 < abs(number) < 1
        else f"{number:.3g}"
        if abs(number) < 1000
        else f"{number:,.0f}"
    )


def _script(values: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(values).replace("<", "\\u003c")


def _tile(number: int) -> Markup:
    sheet, place = divmod(number, PER_SHEET)
    down, across = divmod(place, ACROSS)
    style = f"background-image:var(--s{sheet});background-position:-{across * TILE}px -{down * TILE}px"
    return Markup('<span class="t" style="{}"></span>').format(style)


def _figures(found: Gathered, shown: int) -> list[tuple[str, str]]:
    failed = sum(part.failed for part in found.edits.values())
    return [
        ("rows", f"{found.rows:,}"),
        ("failed", f"{failed:,}"),
        ("edits", f"{len(found.edits):,}"),
        ("images an edit", f"{max(part.ok + part.failed for part in found.edits.values()):,}"),
        ("pictures below", f"{shown:,}"),
    ]


def _edits(found: Gathered) -> list[dict[str, Any]]:
    """A line for each edit: how it was made, and mean, range and drawing of each metric that it has."""
    listed = list(found.edits.items())[:LISTED_EDITS]
    ranges = {}
    for metric in METRICS:
        fine = sum((part.metrics[metric].fine for _, part in listed), np.zeros(1, np.int64))
        there = np.flatnonzero(fine)
        step = (HIGH - LOW) / max(len(fine), 1)
        ranges[metric] = (LOW + there[0] * step, LOW + (there[-1] + 1) * step) if len(there) else (0.0, 1.0)
    return [
        {
            "name": name,
            "how": {key: part.how.get(key) for key in ("method", "target", "alpha", "channels_used")},
            "ok": part.ok,
            "failed": part.failed,
            "ms": part.ms / max(part.ok + part.failed, 1),
            "cells": [_cell(part, metric, ranges[metric], name) for metric in METRICS],
        }
        for name, part in listed
    ]


def _cell(part: EditPart, metric: str, bounds: tuple[float, float], edit: str) -> dict[str, Any] | None:
    numbers = part.metrics[metric]
    if not numbers.count:
        return None
    label = Markup.escape(f"{METRICS[metric]} of {edit}")
    return {
        "mean": numbers.mean,
        "low": numbers.quantile(0.05),
        "high": numbers.quantile(0.95),
        "drawing": charts.histogram(numbers.bins(*bounds).tolist(), label),
    }


def _stages(found: Gathered) -> list[tuple[str, float, str]]:
    total = sum(found.stages.values())
    if not total:
        return []
    return [
        (name, ms / total, colour)
        for (name, ms), colour in zip(found.stages.items(), COLOURS, strict=True)
        if ms
    ]


def _course(run: str) -> dict[str, Any] | None:
    """Images a second, from the times at which shards were committed; None where these are not known."""
    if uris.is_remote(run) or not has_plan(run):
        return None
    images = shard_sizes(run)
    ends = sorted(
        (uris.local_path(file.uri).stat().st_mtime, images.get(file.shard, 0)) for file in shard_files(run)
    )
    span = ends[-1][0] - ends[0][0] if ends else 0.0
    if len(ends) < 4 or span <= 0:
        return None
    bins = min(TIME_BINS, len(ends) - 1)
    counts, _ = np.histogram(
        [at - ends[0][0] for at, _ in ends[1:]], bins, (0, span), weights=[count for _, count in ends[1:]]
    )
    rates = (counts / (span / bins)).tolist()
    return {"drawing": charts.line(rates, "images a second"), "span": _duration(span), "top": max(rates)}


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _lines(run: str) -> list[str]:
    return [
        f"import storage\nrows = storage.read_metrics({run!r})\nrows.groupby('edit')['clip_gain'].describe()",
        f"duckdb -c \"select edit, status, count(*), avg(clip_gain) from '{run}/metrics/**/*.parquet' group by all\"",
        f'styleclip export {run} --to imagefolder --accept "identity > 0.8 and clip_gain > 0.1" --output DATASET',
        "from datasets import load_dataset\npairs = load_dataset('imagefolder', data_dir='DATASET')",
    ]
