"""Attributes as people give them, each with the name and the neutral words that it is trained under."""

from __future__ import annotations

from collections.abc import Sequence

from flows.forms.grid import slug
from styleclip.errors import EditError
from tasks.jobs import MapperAttribute


def named(attributes: Sequence[MapperAttribute], neutral: str) -> list[MapperAttribute]:
    """Attributes with names and neutral words. Raises EditError when there is none."""
    if not attributes:
        raise EditError("no attribute is given: name some in the attributes file, or use --target")
    return [
        each.model_copy(
            update={
                "name": slug(each.name or each.target) or "mapper",
                "neutral": each.neutral or neutral,
            }
        )
        for each in attributes
    ]
