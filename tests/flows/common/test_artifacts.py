"""Artifacts stay small and readable."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from flows.common.artifacts import as_data_uri, cell, markdown_table


def test_a_table_in_markdown():
    table = markdown_table([{"edit": "a|b", "gain": 0.123456}, {"edit": "c", "gain": None}])
    assert table.splitlines() == ["| edit | gain |", "|---|---|", "| a\\|b | 0.123 |", "| c |  |"]
    assert markdown_table([]) == "(no rows)"
    assert cell(float("nan")) == ""


def test_the_data_uri_keeps_its_limit_even_for_noise():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8))
    uri = as_data_uri(noise, limit=50_000)
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(data) <= 50_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
