"""Artifacts stay small and readable."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from flows.common.artifacts import TILE, as_data_uri, cell, markdown_table, picture_grid


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_table_in_markdown():
    table = markdown_table([{"edit": "a|b", "gain": 0.123456}, {"edit": "c", "gain": None}])
    assert table.splitlines() == ["| edit | gain |", "|---|---|", "| a\\|b | 0.123 |", "| c |  |"]
    assert markdown_table([]) == "(no rows)"
    assert cell(float("nan")) == ""


def test_the_grid_holds_every_picture_at_its_place():
    red = encoded(np.full((64, 64, 3), (255, 0, 0), np.uint8))
    sheet = picture_grid([[red, None], [None, red]], ["source", "edit"])
    assert sheet.size == (2 * TILE, 2 * TILE + 14)
    assert sheet.getpixel((TILE // 2, 14 + TILE // 2)) == (255, 0, 0)
    assert sheet.getpixel((TILE + TILE // 2, 14 + TILE // 2)) == (255, 255, 255)


def test_the_data_uri_keeps_its_limit_even_for_noise():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8))
    uri = as_data_uri(noise, limit=50_000)
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(data) <= 50_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
