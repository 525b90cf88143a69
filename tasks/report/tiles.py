"""Pictures of a report: small tiles in a few JPEG sheets, each tile known by its number."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from storage import uris
from storage.errors import ImageError
from storage.images import decode_image

TILE, ACROSS, PER_SHEET = 128, 10, 200
READERS = 4


class Tiles:
    """Collects files; `sheets` makes pictures of them all."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._numbers: dict[str, int] = {}

    def add(self, file: str) -> int:
        """The number of the tile of a file below the run folder; the same file has one tile."""
        return self._numbers.setdefault(file, len(self._numbers))

    def sheets(self, limit: int) -> list[str]:
        """Data URIs of JPEG sheets of 10 tiles across, all together below `limit` bytes: quality gives way.

        A file that is missing or damaged leaves its tile grey.
        """
        with ThreadPoolExecutor(READERS) as pool:
            tiles = list(pool.map(self._tile, self._numbers))
        pictures = [_sheet(tiles[i : i + PER_SHEET]) for i in range(0, len(tiles), PER_SHEET)]
        for quality in (82, 65, 45, 25, 10, 2):
            encoded = [_jpeg(picture, quality) for picture in pictures]
            if sum(map(len, encoded)) <= limit:
                break
        return encoded

    def _tile(self, file: str) -> np.ndarray | None:
        try:
            return decode_image(uris.join(self._run, file), TILE)
        except ImageError:
            return None


def _sheet(tiles: list[np.ndarray | None]) -> Image.Image:
    down = -(-len(tiles) // ACROSS)
    sheet = np.full((down * TILE, ACROSS * TILE, 3), 128, np.uint8)
    for place, tile in enumerate(tiles):
        if tile is not None:
            y, x = place // ACROSS * TILE, place % ACROSS * TILE
            sheet[y : y + TILE, x : x + TILE] = tile
    return Image.fromarray(sheet)


def _jpeg(picture: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
