"""The paper's analysis of mappers on held-out codes, as files: a Parquet table and a heat map."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pandas as pd
import torch
from PIL import Image, ImageDraw
from prefect import task

from storage import uris
from storage.metrics import write_table
from styleclip.checkpoints.mappers import load_mapper
from styleclip.mappers.analysis import PUBLISHED, cross_similarity, step_similarity
from styleclip.methods.mapper import check_mapper, found_mapper
from styleclip.seeds import sample_z
from tasks.process.limits import device_limit
from tasks.process.models import bundle, setting

SEED = 2_000_003
"""Codes of the analysis come from a seed of their own: no training has seen them."""
CELL, MARGIN = 44, 110


@dataclass(frozen=True)
class Similarity:
    """How alike one mapper's steps are: cosine over pairs of images; where: here, or as the paper's table has it."""

    attribute: str
    mean: float
    deviation: float
    where: str


@dataclass(frozen=True)
class Between:
    """Cosines [n, n] between the mean steps of mappers of one space."""

    attributes: list[str]
    cosine: list[list[float]]


@dataclass(frozen=True)
class Analysis:
    """Table 2 of the paper for these mappers, the published rows below, and how alike the mappers are."""

    table: list[Similarity]
    between: Between


@task(name="analyse mappers")
@device_limit()
def analyse_mappers(name: str, device: str, mappers: list[str], output: str, images: int) -> Analysis:
    """Similarity of steps within and between mappers over `images` sampled codes.

    Writes OUTPUT/analysis.parquet (one row per mapper, the published ones below), OUTPUT/similarity.parquet (the
    matrix between mappers of one space) and OUTPUT/similarity.png, its heat map.
    """
    models = bundle(name, device)
    rows: list[Similarity] = []
    steps: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        z = sample_z(SEED, range(images), models.generator.z_dim).to(models.device)
        w = models.generator.map(z, truncation_psi=models.truncation_psi)
        s = models.generator.styles(w)[:, models.generator.layout.conv.to(models.device)]
        for each in mappers:
            with found_mapper(setting(name, device, None), each) as path:
                mapper, card = load_mapper(path)
                check_mapper(models, path, mapper, card)
            in_s = mapper.config.space == "s"
            found = mapper.to(models.device).steps(s if in_s else w)[0]
            mean, deviation = step_similarity(found)
            rows.append(Similarity(card.attribute, mean, deviation, "here"))
            # steps of different spaces cannot be compared
            steps |= {} if in_s else {card.attribute: found}
        between = cross_similarity(torch.stack(list(steps.values()))).cpu() if steps else torch.zeros(0, 0)
    rows += [
        Similarity(attribute, mean, deviation, "paper, Table 2")
        for attribute, (mean, deviation) in PUBLISHED.items()
    ]
    write_table(uris.join(output, "analysis.parquet"), pd.DataFrame(rows))
    matrix = pd.DataFrame(between.numpy(), columns=list(steps))
    matrix.insert(0, "attribute", list(steps))
    write_table(uris.join(output, "similarity.parquet"), matrix)
    if steps:
        buffer = io.BytesIO()
        heat_map(between.tolist(), list(steps)).save(buffer, "PNG")
        uris.write_bytes(uris.join(output, "similarity.png"), buffer.getvalue())
    return Analysis(rows, Between(list(steps), between.tolist()))


def heat_map(values: list[list[float]], names: list[str]) -> Image.Image:
    """A square of cosines: blue −1, white 0, red 1, each cell with its number."""
    side = MARGIN + CELL * len(names)
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        draw.text((4, MARGIN + CELL * row + CELL // 2 - 6), name[:17], fill="black")
        label = Image.new("RGB", (MARGIN, CELL), "white")
        ImageDraw.Draw(label).text((4, CELL // 2 - 6), name[:17], fill="black")
        picture.paste(label.rotate(90, expand=True), (MARGIN + CELL * row, 0))
        for column in range(len(names)):
            value = max(-1.0, min(1.0, values[row][column]))
            pale = round(255 * (1 - abs(value)))
            colour = (255, pale, pale) if value >= 0 else (pale, pale, 255)
            left, top = MARGIN + CELL * column, MARGIN + CELL * row
            draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), fill=colour)
            draw.text((left + 8, top + CELL // 2 - 6), f"{value:.2f}", fill="black")
    return picture
