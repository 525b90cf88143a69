"""One edit in words, of any method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Method = Literal["global", "global-weighted", "optimize", "mapper"]

DEFAULT_ALPHA = {"global": 4.0, "global-weighted": 4.0, "mapper": 1.0}
DEFAULT_CHANNELS = 20
OPTIMIZE_DEFAULTS: dict[str, Any] = {
    "space": "w+",
    "steps": 300,
    "learning_rate": 0.1,
    "lambda_l2": 0.008,
    "lambda_id": 0.0,
    "torgb": False,
    "patience": 0,
    "relative": 0.0,
    "in_sigma": False,
    "clip_noise": 0.0,
    "clip_shift": 0.0,
    "latent_noise": 0.0,
    "keep_every": 0,
}
"""The published ones (paper §4, and the code's λ_L2 and λ_ID); those from `patience` on are ours, and off."""

FIELDS_OF = {
    "alpha": ("global", "global-weighted", "mapper"),
    "beta": ("global", "global-weighted"),
    "channels": ("global", "global-weighted", "optimize"),
    "mapper": ("mapper",),
    **dict.fromkeys(OPTIMIZE_DEFAULTS, ("optimize",)),
}
"""Field → the methods that it says something to."""


class EditSpec(BaseModel):
    """One edit in words; lists of strengths make a grid of edits. Empty fields take the defaults of the method."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    target: str | None = Field(
        default=None,
        description='What the image shall show, for example "a face with red hair"; a mapper knows its own.',
        min_length=1,
    )
    neutral: str | None = Field(
        default=None,
        description='What it shows now, for example "a face"; empty: the neutral words of the bundle.',
    )
    name: str | None = Field(
        default=None,
        description="Name of the edit and of its folder; empty: made from the words that target adds to neutral.",
    )
    method: Method = Field(
        default="global",
        description="global: the directions of the paper; global-weighted: channels weighted by how much they move; "
        "optimize: every image finds its own latent code, slowly; mapper: a trained network, in one pass.",
    )
    alpha: float | list[float] | None = Field(
        default=None,
        description="global: strength in standard deviations of the strongest channel, negative turns the edit "
        "around, default 4. mapper: factor of its step, default 1.",
    )
    beta: float | list[float] | None = Field(
        default=None, description="global: channels whose |Δi·Δt| is below this stay as they are (0 … 1)."
    )
    channels: int | list[int] | None = Field(
        default=None,
        description=f"global: instead of beta, how many channels may move; neither given: {DEFAULT_CHANNELS}. optimize "
        "in s: only so many channels move, those that answer most strongly to the words; empty: all.",
    )
    space: Literal["w+", "s"] | None = Field(
        default=None, description="optimize: what is moved, W+ (default) or the style channels."
    )
    steps: int | None = Field(
        default=None, ge=1, le=100_000, description="optimize: steps of Adam, default 300."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="optimize: largest step size, default 0.1."
    )
    lambda_l2: float | list[float] | None = Field(
        default=None,
        description="optimize: weight of the squared distance from the source, default 0.008; smaller edits more.",
    )
    lambda_id: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="optimize: weight of keeping the face's identity, default 0; needs an identity network.",
    )
    torgb: bool | None = Field(
        default=None, description="optimize in s: move the channels of ToRGB layers, too; default no."
    )
    patience: int | None = Field(
        default=None,
        ge=0,
        description="optimize: an image stops when its loss has not fallen for this many steps; default 0, never.",
    )
    relative: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="optimize: instead of at the words alone, aim at what CLIP sees in the image, moved so far from "
        "neutral to target: keeps more of the image. Default 0, the published aim.",
    )
    in_sigma: bool | None = Field(
        default=None,
        description="optimize in s: channels move in units of their standard deviation, and those that no picture "
        "varies stay; default no.",
    )
    clip_noise: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="optimize: deviation of the noise that is put on the picture before CLIP sees it, another at "
        "every step: harder to please CLIP without changing the picture. Default 0.",
    )
    clip_shift: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="optimize: CLIP sees the picture shifted by at most this share of its side, anew at every step. "
        "Default 0.",
    )
    latent_noise: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="optimize: deviation of the noise on what moves, in its units, at the first step; it fades in "
        "three quarters of the steps. Leads out of places where CLIP shows no way. Default 0.",
    )
    keep_every: int | None = Field(
        default=None, ge=0, description="optimize: keep a picture every so many steps; default 0, none."
    )
    mapper: str | None = Field(
        default=None,
        min_length=1,
        description="mapper: file of a trained mapper, or the name of one that the bundle ships.",
    )

    @field_validator("alpha", "beta", "channels", "lambda_l2")
    @classmethod
    def _lists_are_not_empty(cls, value: Any) -> Any:
        if isinstance(value, list) and not value:
            raise ValueError("an empty list of strengths leaves no edit")
        return value

    @model_validator(mode="after")
    def _fields_belong_to_the_method(self) -> EditSpec:
        for name, methods in FIELDS_OF.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(
                    f"'{name}' belongs to the method {methods[0]}, this edit is of '{self.method}'"
                )
        if self.method == "mapper":
            if self.mapper is None:
                raise ValueError(
                    "the method mapper needs 'mapper': a file, or the name of one that the bundle ships"
                )
        elif self.target is None:
            raise ValueError("'target' is missing: say what the image shall show")
        return self

    @model_validator(mode="after")
    def _strengths_make_sense(self) -> EditSpec:
        if self.beta is not None and self.channels is not None:
            raise ValueError("give beta or channels, not both: each of them chooses the channels")
        if any(beta < 0 or beta > 1 for beta in listed(self.beta)):
            raise ValueError("beta is a threshold on |Δi·Δt| and lies between 0 and 1")
        if any(count < 1 for count in listed(self.channels)):
            raise ValueError("channels must be at least 1")
        if any(not 0 <= weight < float("inf") for weight in listed(self.lambda_l2)):
            raise ValueError("lambda_l2 is the weight of a distance: 0 or more")
        if self.method == "optimize" and self.channels is not None and (self.space != "s" or self.torgb):
            raise ValueError(
                "channels chooses style channels of convolutions, so it needs space: s, without torgb"
            )
        if self.torgb and self.space != "s":
            raise ValueError("torgb chooses channels, so it needs space: s (in w+ every layer moves)")
        if self.in_sigma and self.space != "s":
            raise ValueError("in_sigma is about style channels, so it needs space: s")
        return self


def listed(value: Any) -> list[Any]:
    """A strength or a list of strengths as a list; nothing given is an empty one."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]
