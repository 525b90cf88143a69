"""Which pictures a report shows, and beside what: samples by rule, α × channels, methods on the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.report.gather import METRICS, RULES, EditPart, Gathered
from tasks.report.tiles import Tiles

PICTURES, SHOWN_EDITS, GRIDS, COMPARED, COMPARED_IMAGES = 150, 30, 4, 4, 4
VALUES = (
    "clip_gain",
    "directional_similarity",
    "identity_reconstruction_edit",
    "distance_reconstruction_edit",
)


@dataclass(frozen=True)
class Sample:
    """An edit of an image, the tiles of before and after, why it is shown, and its numbers."""

    edit: str
    image: str
    rules: tuple[str, ...]
    before: int | None
    after: int
    file: str
    path: str
    values: dict[str, float]


@dataclass(frozen=True)
class Grid:
    """The paper's figures 6 and 20: one image and edit, strengths down, numbers of channels across.

    cells[alpha][channels]: None, or (edit, tile, mean CLIP gain, mean identity).
    """

    words: str
    image: str
    alphas: list[float]
    channels: list[int]
    cells: list[list[tuple[str, int, float | None, float | None] | None]]


@dataclass(frozen=True)
class Comparison:
    """The paper's figures 9 and 23: the same words by several methods; rows: images, a tile for each column."""

    words: str
    columns: list[str]
    rows: list[tuple[str, list[int]]]


def samples(found: Gathered, tiles: Tiles, with_reconstruction: bool) -> list[Sample]:
    """Some 150 pictures: for each edit the same share of each rule, none twice."""
    shown = list(found.edits.items())[:SHOWN_EDITS]
    each = max(1, PICTURES // max(len(shown), 1) // len(RULES))
    chosen: list[Sample] = []
    for name, part in shown:
        reasons: dict[str, list[str]] = {}
        rows: dict[str, Any] = {}
        for rule, best in part.chosen.items():
            for row in best[:each]:
                if isinstance(row["output"], str):
                    reasons.setdefault(row["image_id"], []).append(rule)
                    rows[row["image_id"]] = row
        for image, row in rows.items():
            before = tiles.add(f"images/reconstruction/{image}.png") if with_reconstruction else None
            values = {METRICS[key]: round(float(row[key]), 4) for key in VALUES if row[key] is not None}
            chosen.append(
                Sample(
                    name, image, tuple(reasons[image]), before, tiles.add(row["output"]), row["output"],
                    str(row["path"]), values,
                )
            )  # fmt: skip
    return chosen


def _outputs(part: EditPart) -> dict[str, str]:
    """Image → its picture, of those drawn at random: the same images for every edit."""
    return {row["image_id"]: row["output"] for row in part.chosen.get("random", []) if row["output"]}


def grids(found: Gathered, tiles: Tiles) -> list[Grid]:
    """A grid for each edit of the paper's method that has several strengths or numbers of channels."""
    groups: dict[tuple[Any, ...], dict[tuple[float, int], str]] = {}
    for name, part in found.edits.items():
        how = part.how
        if "alpha" in how and "channels_used" in how:
            place = (float(how["alpha"]), int(how["channels_used"]))
            groups.setdefault(tuple(how.get(key) for key in ("method", "neutral", "target")), {})[place] = (
                name
            )
    made: list[Grid] = []
    for (_, neutral, target), cells in groups.items():
        if len(cells) < 2 or len(made) == GRIDS:
            continue
        outputs = {place: _outputs(found.edits[name]) for place, name in cells.items()}
        common = set.intersection(*(set(files) for files in outputs.values()))
        if not common:
            continue
        first = next(iter(outputs.values()))
        image = next(each for each in first if each in common)
        alphas, channels = sorted({a for a, _ in cells}), sorted({c for _, c in cells})[:8]
        made.append(
            Grid(f"{neutral} → {target}", image, alphas, channels, [
                [_cell(found, cells.get((a, c)), outputs.get((a, c), {}).get(image), tiles) for c in channels]
                for a in alphas
            ])
        )  # fmt: skip
    return made


def _cell(
    found: Gathered, name: str | None, file: str | None, tiles: Tiles
) -> tuple[str, int, float | None, float | None] | None:
    if name is None or file is None:
        return None
    metrics = found.edits[name].metrics
    return name, tiles.add(file), metrics["clip_gain"].mean, metrics["identity_reconstruction_edit"].mean


def comparisons(found: Gathered, tiles: Tiles, with_reconstruction: bool) -> list[Comparison]:
    """The same words by several methods, each by the first edit that uses it, on the same images."""
    groups: dict[str, dict[str, str]] = {}
    for name, part in found.edits.items():
        if isinstance(target := part.how.get("target"), str):
            groups.setdefault(target, {}).setdefault(str(part.how.get("method")), name)
    made: list[Comparison] = []
    for target, methods in groups.items():
        if len(methods) < 2 or len(made) == COMPARED:
            continue
        outputs = {method: _outputs(found.edits[name]) for method, name in methods.items()}
        common = [
            image
            for image in next(iter(outputs.values()))
            if all(image in files for files in outputs.values())
        ][:COMPARED_IMAGES]
        rows = []
        for image in common:
            row = [tiles.add(f"images/reconstruction/{image}.png")] if with_reconstruction else []
            rows.append((image, row + [tiles.add(outputs[method][image]) for method in methods]))
        before = ["reconstruction"] if with_reconstruction else []
        made.append(Comparison(target, before + list(methods), rows))
    return [each for each in made if each.rows]
