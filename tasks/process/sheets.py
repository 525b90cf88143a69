"""Sheets of pictures to look at: what a run writes beside its results, and what its page in Prefect shows."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from styleclip.pixels import to_bytes

TILE, CAPTION = 96, 14


def opened(data: bytes) -> Image.Image:
    """An encoded picture in RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


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
                fitted = opened(data).resize((tile, tile), Image.Resampling.LANCZOS)
                sheet.paste(fitted, (x * tile, CAPTION + y * tile))
    return sheet


def picture_column(pictures: Sequence[bytes], captions: Sequence[str]) -> Image.Image:
    """Encoded images of any size under each other, each with a caption above it."""
    tiles = [opened(data) for data in pictures]
    width, height = max(tile.width for tile in tiles), sum(tile.height + CAPTION for tile in tiles)
    sheet = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for tile, caption in zip(tiles, captions, strict=True):
        draw.text((2, top + 1), caption, fill="black")
        sheet.paste(tile, (0, top + CAPTION))
        top += CAPTION + tile.height
    return sheet


def strip(rows: Sequence[Tensor]) -> Tensor:
    """Rows of pictures, each float [n, 3, H, W] in [−1, 1] → one picture uint8 [len(rows)·H, n·W, 3] on the host."""
    assert rows and all(row.shape == rows[0].shape and row.ndim == 4 for row in rows), [r.shape for r in rows]
    return torch.cat([torch.cat(list(to_bytes(row)), dim=1) for row in rows]).cpu()
