"""What a mapper shall learn, as people write it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.forms.grid import slug
from styleclip.errors import EditError

Level = Literal["coarse", "medium", "fine"]


class MapperSpec(BaseModel):
    """One attribute; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(
        min_length=1, description='What images shall show, for example "a face with red hair".'
    )
    name: str | None = Field(default=None, description="Name of the mapper; empty: made from the target.")
    neutral: str | None = Field(
        default=None, description="What they show now; empty: the neutral words of the bundle."
    )
    space: Literal["levels", "single", "s"] = Field(
        default="levels",
        description="levels: a network per level of W+; single: one for all rows; s: one per style layer.",
    )
    levels: list[Level] = Field(
        default=["coarse", "medium", "fine"],
        min_length=1,
        description="levels only: which rows of W+ may move (0–3, 4–7, 8 on); leave fine out for shapes.",
    )
    lambda_clip: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Weight of the CLIP loss.")
    lambda_l2: float = Field(
        default=0.8,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the mean squared step; smaller edits more.",
    )
    lambda_id: float = Field(
        default=0.1, ge=0, allow_inf_nan=False, description="Weight of keeping the face's identity."
    )
    relative: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="0: aim at the words (the paper). Above: at each image's own embedding, plus so much of Δt.",
    )

    @model_validator(mode="after")
    def _levels_belong_to_levels(self) -> MapperSpec:
        if self.space != "levels" and self.levels != MapperSpec.model_fields["levels"].default:
            raise ValueError(f"'levels' belongs to the space levels, this mapper is of space '{self.space}'")
        return self


def plain(specs: list[MapperSpec], neutral: str) -> list[dict[str, Any]]:
    """Attributes as plain dictionaries with names and neutral words. Raises EditError when there is none."""
    if not specs:
        raise EditError("no attribute is given: name some in the attributes file, or use --target")
    return [
        spec.model_dump()
        | {"name": slug(spec.name or spec.target) or "mapper", "neutral": spec.neutral or neutral}
        for spec in specs
    ]
