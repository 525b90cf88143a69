"""What a bundle's TOML file may say, and what is wrong with one that says something else, in one line."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

STYLECLIP, IMAGENET = TEMPLATE_SETS = ("styleclip", "imagenet")
"""Templates that have a name: those of StyleCLIP's published code, and those of ImageNet as open_clip has them."""

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Section(_Strict):
    """Where a file can be had: the page to get it from, and the licence to expect there."""

    page: Text | None = None
    licence: Text | None = None


class FileSection(Section):
    """A network's file, or a folder."""

    path: Text


class GeneratorSection(FileSection):
    """number: the class that a class-conditional generator is held at."""

    number: int | None = Field(default=None, alias="class", ge=0)


class ClipSection(Section):
    """A file of weights, or one of open_clip's models by its name."""

    model: Text | None = None
    pretrained: Text | None = None
    checkpoint: Text | None = None
    config: Text | None = None

    @model_validator(mode="after")
    def _names_a_model(self) -> ClipSection:
        if self.model is None and self.checkpoint is None:
            raise ValueError("needs a 'checkpoint', or a 'model' and 'pretrained'")
        return self


class BundleFile(_Strict):
    """A bundle as it is written; see docs/bundles.md for the meanings."""

    description: str = ""
    neutral: Text = "a face"
    templates: Literal["styleclip", "imagenet"] | Annotated[list[str], Field(min_length=1)] = ["{}"]
    sigma_step: Positive = 5.0
    truncation_psi: Positive = 0.7
    generator: GeneratorSection
    clip: ClipSection
    judge_clip: ClipSection | None = None
    identity: FileSection | None = None
    encoder: FileSection | None = None
    detector: FileSection | None = None
    directions: FileSection | None = None
    mappers: FileSection | None = None

    @model_validator(mode="after")
    def _templates_have_a_place_for_the_words(self) -> BundleFile:
        if isinstance(self.templates, list) and not all("{}" in text for text in self.templates):
            raise ValueError("templates")
        return self

    def sections(self) -> dict[str, Section]:
        """Name → section, for those that are there."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if isinstance(value, Section)}


SECTIONS: dict[str, type[Section]] = {
    "generator": GeneratorSection,
    "clip": ClipSection,
    "judge_clip": ClipSection,
    **dict.fromkeys(("identity", "encoder", "detector", "directions", "mappers"), FileSection),
}


def what_is_wrong(error: ValidationError) -> str:
    """The first complaint about a bundle's file, in one line."""
    complaint = error.errors()[0]
    kind, value = complaint["type"], complaint.get("input")
    place = [str(part) for part in complaint["loc"]]
    if not place or place[0] == "templates":
        return f'templates must be a list of texts with {{}} inside, "{STYLECLIP}" or "{IMAGENET}"'
    top, inside = place[0], place[1:]
    if inside:
        known = sorted(field.alias or name for name, field in SECTIONS[top].model_fields.items())
        if kind == "extra_forbidden":
            return f"section [{top}] has the unknown field '{inside[0]}'; known: {', '.join(known)}"
        if kind == "missing":
            return f"section [{top}] needs a '{inside[0]}'"
        wanted = "the number of a class" if inside[0] == "class" else "a text"
        return f"'{inside[0]}' of section [{top}] must be {wanted}, not {value!r}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(top, BundleFile.model_fields, n=1)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else f"known are {', '.join(sorted(BundleFile.model_fields))}"
        )
        return f"unknown field '{top}'; {hint}"
    if kind == "missing":
        return f"lacks the section [{top}]"
    if kind == "value_error":
        return f"section [{top}] {complaint['msg'].removeprefix('Value error, ')}"
    if top in SECTIONS:
        return f"[{top}] must be a section, not the value {value!r}"
    wanted = "a number above 0" if top in ("sigma_step", "truncation_psi") else "a text"
    return f"'{top}' must be {wanted}, not {value!r}"
