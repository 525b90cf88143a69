"""Markdown for Prefect's artifact pages: small tables and one picture grid that needs no server of its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

GRID_BYTES = 300_000
"""Upper bound of the picture in an artifact; with base64's third more it stays below 500 kB."""

TILE, CAPTION = 96, 14


def cell(value: Any) -> str:
    """A value as people read it: numbers rounded, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys → a markdown table."""
    if not rows:
        return "(no rows)"
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def key_values(values: Mapping[str, Any]) -> str:
    """A mapping → a two-column markdown table."""
    return markdown_table([{"what": key, "value": value} for key, value in values.items()])


def picture_grid(
    rows: Sequence[Sequence[bytes | None]], captions: Sequence[str], tile: int = TILE
) -> Image.Image:
    """Encoded images, one row per source and one column per caption → one picture; None leaves a gap."""
    sheet = Image.new("RGB", (tile * len(captions), CAPTION + tile * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        draw.text((column * tile + 2, 1), caption[: tile // 6], fill="black")
    for y, row in enumerate(rows):
        for x, data in enumerate(row):
            if data is not None:
                with Image.open(io.BytesIO(data)) as image:
                    fitted = image.convert("RGB").resize((tile, tile), Image.Resampling.LANCZOS)
                sheet.paste(fitted, (x * tile, CAPTION + y * tile))
    return sheet


def picture_column(pictures: Sequence[bytes], captions: Sequence[str], scale: int = 1) -> Image.Image:
    """Encoded images of any size under each other, each with a caption above it."""
    tiles = []
    for data in pictures:
        with Image.open(io.BytesIO(data)) as image:
            size = (image.width * scale, image.height * scale)
            tiles.append(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    width, height = max(tile.width for tile in tiles), sum(tile.height + CAPTION for tile in tiles)
    sheet = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for tile, caption in zip(tiles, captions, strict=True):
        draw.text((2, top + 1), caption, fill="black")
        sheet.paste(tile, (0, top + CAPTION))
        top += CAPTION + tile.height
    return sheet


def as_data_uri(picture: Image.Image, limit: int = GRID_BYTES) -> str:
    """A JPEG data URI of at most `limit` bytes before base64; quality, then size give way."""
    while True:
        for quality in (88, 70, 50):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= limit:
                return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        picture = picture.resize((max(1, picture.width * 2 // 3), max(1, picture.height * 2 // 3)))
