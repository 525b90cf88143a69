"""One edit in words: a form per method, each with its own fields and their true defaults.

In Prefect's run form every form is a tab. Its schema is published as `anyOf`, because the form of the V2 UI loses its
way in a `oneOf`, and `method` is required in all but the first, because the server looks at nothing else to tell them
apart. Both UIs send every default, so a default must never contradict what was asked for.
"""

from __future__ import annotations

import difflib
import itertools
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)

from styleclip.edits import CHANNELS, Auto, Edit, GlobalEdit, MapperEdit, OptimizeEdit
from styleclip.settings import OptimizationSettings

TARGET = 'What the image shall show, for example "a face with red hair".'
PAPER = OptimizationSettings()
NO_LIMIT = 0


def _method_is_required(schema: dict[str, Any]) -> None:
    schema["required"] = ["method", *(name for name in schema.get("required", []) if name != "method")]


def _any_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = schema.pop("oneOf")


class _Form(BaseModel):
    """What the forms of all methods share."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    method: str
    target: str
    neutral: str = Field(
        default="",
        description='What it shows now, for example "a face"; empty: the neutral words of the bundle.',
    )
    name: str = Field(
        default="",
        description="Name of the edit and of its folder; empty: made from the words that target adds to neutral.",
    )

    lists: ClassVar[tuple[str, ...]] = ()
    """Fields that may hold a list: each makes a grid of edits."""

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        # an empty field in a file stands for its default
        given = {name: value for name, value in values.items() if value is not None}
        for name in given:
            if name not in cls.model_fields:
                raise ValueError(_why_unknown(str(name), given.get("method", "global")))
        return given

    @field_validator("*", mode="after")
    @classmethod
    def _lists_are_not_empty(cls, value: Any) -> Any:
        if isinstance(value, list) and not value:
            raise ValueError("an empty list of strengths leaves no edit")
        return value

    @abstractmethod
    def strengths(self) -> list[tuple[str, dict[str, Any]]]:
        """(suffix of the name, fields of the `Edit`) of every edit that the form's lists unfold into."""

    @abstractmethod
    def edit(self, name: str, neutral: str, strengths: Mapping[str, Any]) -> Edit:
        """One of these edits."""


class GlobalForm(_Form):
    """The directions of the paper: one step in style space for every image."""

    model_config = ConfigDict(title="global")

    method: Literal["global", "global-weighted"] = Field(
        default="global",
        description="global: the directions of the paper; global-weighted: channels weighted by how much they move.",
    )
    target: str = Field(min_length=1, description=TARGET)
    alpha: Auto | float | list[float] = Field(
        default=GlobalEdit.alpha,
        description="auto: for each picture the smallest strength that does it. Or a number, in standard deviations of "
        "the strongest channel; negative turns the edit around.",
    )
    channels: Auto | Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] = Field(
        default="auto",
        description="How many channels may move: those that answer most strongly to the words. auto: as few as do it; "
        f"where alpha is a number, {CHANNELS}.",
    )
    beta: Annotated[float, Field(ge=0, le=1)] | list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=0.0,
        description="Instead of channels: those whose |Δi·Δt| is below this stay as they are (0 … 1); 0: not used.",
    )

    @model_validator(mode="after")
    def _one_of_them_chooses(self) -> GlobalForm:
        if self.by_beta and self.channels != GlobalForm.model_fields["channels"].default:
            raise ValueError("give beta or channels, not both: each of them chooses the channels")
        return self

    @property
    def by_beta(self) -> bool:
        """Whether beta chooses the channels: it does where it is above 0, or where it alone was given."""
        return listed(self.beta) != [0.0] or (
            "beta" in self.model_fields_set and "channels" not in self.model_fields_set
        )

    def strengths(self) -> list[tuple[str, dict[str, Any]]]:
        channels = CHANNELS if self.channels == "auto" and self.alpha != "auto" else self.channels
        if self.by_beta:
            chosen = [(f"b{beta:g}", {"beta": beta, "channels": None}) for beta in listed(self.beta)]
        else:
            chosen = [(f"c{count}", {"beta": None, "channels": count}) for count in listed(channels)]
        return [
            (f"{_of_alpha(alpha)}_{suffix}", {"alpha": alpha} | choice)
            for alpha in listed(self.alpha)
            for suffix, choice in chosen
        ]

    def edit(self, name: str, neutral: str, strengths: Mapping[str, Any]) -> GlobalEdit:
        return GlobalEdit(name=name, method=self.method, target=self.target, neutral=neutral, **strengths)


class MapperForm(_Form):
    """A trained network, in one pass."""

    model_config = ConfigDict(title="mapper", json_schema_extra=_method_is_required)

    method: Literal["mapper"] = Field(default="mapper", json_schema_extra={"enum": ["mapper"]})
    mapper: str = Field(
        min_length=1, description="File of a trained mapper, or the name of one that the bundle ships."
    )
    target: str = Field(default="", description=f"{TARGET} Empty: what the mapper was trained for.")
    alpha: Auto | float | list[float] = Field(
        default=MapperEdit.alpha,
        description="Factor of the mapper's step; auto: for each picture the smallest that does it.",
    )

    def strengths(self) -> list[tuple[str, dict[str, Any]]]:
        return [(_of_alpha(alpha), {"alpha": alpha}) for alpha in listed(self.alpha)]

    def edit(self, name: str, neutral: str, strengths: Mapping[str, Any]) -> MapperEdit:
        return MapperEdit(
            name=name, target=self.target or None, neutral=neutral, mapper=self.mapper, **strengths
        )


class OptimizeForm(_Form):
    """Every image finds its own latent code, slowly; the defaults are the published ones."""

    model_config = ConfigDict(title="optimize", json_schema_extra=_method_is_required)

    method: Literal["optimize"] = Field(default="optimize", json_schema_extra={"enum": ["optimize"]})
    target: str = Field(min_length=1, description=TARGET)
    space: Literal["w+", "s"] = Field(
        default=PAPER.space, description="What is moved: W+, or the style channels of the convolutions."
    )
    steps: int = Field(default=PAPER.steps, ge=1, le=100_000, description="Steps of Adam.")
    learning_rate: float = Field(default=PAPER.learning_rate, gt=0, description="Largest step size.")
    lambda_l2: Annotated[float, Field(ge=0)] | list[Annotated[float, Field(ge=0)]] = Field(
        default=PAPER.lambda_l2,
        description="Weight of the squared distance from the source; smaller edits more.",
    )
    lambda_id: float = Field(
        default=PAPER.lambda_id,
        ge=0,
        description="Weight of keeping the face's identity; above 0 it needs an identity network.",
    )
    torgb: bool = Field(default=PAPER.torgb, description="In s: move the channels of ToRGB layers, too.")
    patience: int = Field(
        default=PAPER.patience,
        ge=0,
        description="An image stops when its loss has not fallen for this many steps; 0: never.",
    )
    relative: float = Field(
        default=OptimizeEdit.relative,
        ge=0,
        description="Instead of at the words alone, aim at what CLIP sees in the image, moved so far from neutral to "
        "target: keeps more of the image. 0: the published aim.",
    )
    in_sigma: bool = Field(
        default=PAPER.in_sigma,
        description="In s: channels move in units of their standard deviation, and those that no picture varies stay.",
    )
    clip_noise: float = Field(
        default=PAPER.clip_noise,
        ge=0,
        description="Deviation of the noise that is put on the picture before CLIP sees it, another at every step: "
        "harder to please CLIP without changing the picture.",
    )
    clip_shift: float = Field(
        default=PAPER.clip_shift,
        ge=0,
        le=0.5,
        description="CLIP sees the picture shifted by at most this share of its side, anew at every step.",
    )
    latent_noise: float = Field(
        default=PAPER.latent_noise,
        ge=0,
        description="Deviation of the noise on what moves, in its units, at the first step; it fades in three quarters "
        "of the steps. Leads out of places where CLIP shows no way.",
    )
    channels: Annotated[int, Field(ge=0)] | list[Annotated[int, Field(ge=1)]] = Field(
        default=NO_LIMIT,
        description="In s: only so many channels move, those that answer most strongly to the words; 0: all.",
    )
    keep_every: int = Field(
        default=OptimizeEdit.keep_every, ge=0, description="Keep a picture every so many steps; 0: none."
    )

    @model_validator(mode="after")
    def _what_needs_s(self) -> OptimizeForm:
        if listed(self.channels) != [NO_LIMIT] and (self.space != "s" or self.torgb):
            raise ValueError(
                "channels chooses style channels of convolutions, so it needs space: s, without torgb"
            )
        if self.torgb and self.space != "s":
            raise ValueError("torgb chooses channels, so it needs space: s (in w+ every layer moves)")
        if self.in_sigma and self.space != "s":
            raise ValueError("in_sigma is about style channels, so it needs space: s")
        return self

    def strengths(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (
                f"l{weight:g}" + (f"_c{count}" if count else ""),
                {"lambda_l2": weight, "channels": count or None},
            )
            for weight, count in itertools.product(listed(self.lambda_l2), listed(self.channels))
        ]

    def edit(self, name: str, neutral: str, strengths: Mapping[str, Any]) -> OptimizeEdit:
        same = self.model_dump(exclude={"name", "neutral", *strengths})
        return OptimizeEdit(name=name, neutral=neutral, **same, **strengths)


FORMS: dict[str, type[_Form]] = {
    "global": GlobalForm,
    "global-weighted": GlobalForm,
    "mapper": MapperForm,
    "optimize": OptimizeForm,
}
"""Method → what it can be asked for."""


def _why_unknown(name: str, method: str) -> str:
    """Why a form has no such field: it belongs to another method, or is misspelt."""
    owners = [other for other, form in FORMS.items() if name in form.model_fields]
    if owners:
        return f"'{name}' belongs to the method {owners[0]}, this edit is of '{method}'"
    known = sorted({field for form in FORMS.values() for field in form.model_fields})
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown field '{name}'" + (
        f"; did you mean '{near[0]}'?" if near else f" (known: {', '.join(known)})"
    )


def _tag(value: Any) -> str:
    method = (
        value.get("method") or "global" if isinstance(value, Mapping) else getattr(value, "method", "global")
    )
    return "global" if method == "global-weighted" else str(method)


EditForm = Annotated[
    Annotated[GlobalForm, Tag("global")]
    | Annotated[MapperForm, Tag("mapper")]
    | Annotated[OptimizeForm, Tag("optimize")],
    Discriminator(_tag),
    Field(json_schema_extra=_any_of),
]
"""An edit of any method; without `method` it is of the method global."""

AnyForm = GlobalForm | MapperForm | OptimizeForm
_ADAPTER: TypeAdapter[AnyForm] = TypeAdapter(EditForm)


def edit_form(**values: Any) -> AnyForm:
    """The form of the method that `values` name. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(values)


def _of_alpha(alpha: float | Auto) -> str:
    return "auto" if isinstance(alpha, str) else f"a{alpha:g}"


def listed(value: Any) -> list[Any]:
    """A strength or a list of strengths as a list."""
    return list(value) if isinstance(value, list) else [value]
