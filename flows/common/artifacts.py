"""Markdown for Prefect's artifact pages: small tables and pictures that need no server of its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

GRID_BYTES = 300_000
"""Upper bound of the picture in an artifact; with base64's third more it stays below 500 kB."""


def cell(value: Any) -> str:
    """A value as people read it: numbers rounded, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def rounded(value: Any) -> Any:
    """Numbers in rows of a table artifact, to four digits: the UI prints every digit that it gets."""
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


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


def as_data_uri(picture: Image.Image, limit: int = GRID_BYTES) -> str:
    """A JPEG data URI of at most `limit` bytes before base64; quality, then size give way."""
    while True:
        for quality in (88, 70, 50):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= limit:
                return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        picture = picture.resize((max(1, picture.width * 2 // 3), max(1, picture.height * 2 // 3)))
