"""What an edit asks for, of any method: its words and its strengths. Plain data: no torch, no disk.

`styleclip.methods` makes edits ready for images; the forms in which people ask for them read their defaults here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from styleclip.settings import OptimizationSettings

Auto = Literal["auto"]
CHANNELS = 20
"""How many channels move where α is a number and nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit. `name` names its folder and its rows, `method` is its name in `styleclip.methods.METHODS`.

    An empty `neutral` stands for the bundle's own words; `target` None for what a mapper was trained for.
    """

    name: str = "edit"
    method: str = ""
    target: str | None = None
    neutral: str = ""

    latent_space: ClassVar[str] = ""
    """Where the step is taken, as Table 1 of the paper names it."""
    input_dependent: ClassVar[bool] = True
    """Whether images differ in the step that they take (Table 1)."""

    def to_plan(self) -> dict[str, Any]:
        """Plain values, as a run's plan keeps them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class GlobalEdit(Edit):
    """Global directions (paper §6): alpha in standard deviations of the strongest channel; beta, or where it is None
    a number of channels, chooses which ones move.

    alpha "auto": for each picture the smallest that does it. channels "auto": as few as do it; with an α that is a
    number, `CHANNELS`. why: what made the choice, where it was made for the user.
    method "global" is the paper's; "global-weighted" weighs channels by how much they move pictures.
    """

    method: str = "global"
    alpha: float | Auto = "auto"
    beta: float | None = None
    channels: int | Auto | None = "auto"
    why: str = ""

    latent_space: ClassVar[str] = "S"
    input_dependent: ClassVar[bool] = False

    def to_plan(self) -> dict[str, Any]:
        # plans of edits whose channels were given stay what they were
        return {name: value for name, value in super().to_plan().items() if name != "why" or value}


@dataclass(frozen=True, kw_only=True)
class MapperEdit(Edit):
    """Latent mapper (paper §5): a file, or the name of one that the bundle ships; alpha: factor of its step, "auto":
    for each picture the smallest that does it."""

    method: str = "mapper"
    mapper: str
    alpha: float | Auto = "auto"

    latent_space: ClassVar[str] = "W+"


@dataclass(frozen=True, kw_only=True)
class OptimizeEdit(Edit, OptimizationSettings):
    """Latent optimization (paper §4): its settings, whose defaults are the published ones, and options of ours.

    relative: 0 aims at the words, as the paper does. Above 0 the aim of an image is its own unit embedding plus
    `relative`·Δt: the words alone also say, to CLIP, that everything they do not mention is absent.
    channels: only so many channels of S move, those that answer most strongly to the words; None: all.
    keep_every: steps between kept pictures, 0 for none.
    """

    method: str = "optimize"
    relative: float = 0.0
    channels: int | None = None
    keep_every: int = 0

    latent_space: ClassVar[str] = "W+"

    @property
    def settings(self) -> OptimizationSettings:
        """How the optimization is carried out, without the words."""
        return OptimizationSettings(
            **{each.name: getattr(self, each.name) for each in fields(OptimizationSettings)}
        )
