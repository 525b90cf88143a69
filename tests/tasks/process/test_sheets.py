"""Sheets of pictures."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from tasks.process.sheets import TILE, picture_grid, strip


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_grid_holds_every_picture_at_its_place():
    red = encoded(np.full((64, 64, 3), (255, 0, 0), np.uint8))
    sheet = picture_grid([[red, None], [None, red]], ["source", "edit"])
    assert sheet.size == (2 * TILE, 2 * TILE + 14)
    assert sheet.getpixel((TILE // 2, 14 + TILE // 2)) == (255, 0, 0)
    assert sheet.getpixel((TILE + TILE // 2, 14 + TILE // 2)) == (255, 255, 255)


def test_a_strip_has_a_row_per_method_and_a_column_per_picture():
    dark, light = torch.full((3, 3, 4, 4), -1.0), torch.full((3, 3, 4, 4), 1.0)
    sheet = strip([dark, light])
    assert sheet.shape == (8, 12, 3) and sheet.dtype == torch.uint8
    assert (sheet[:4] == 0).all() and (sheet[4:] == 255).all()
