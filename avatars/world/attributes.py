"""What can be said of an avatar, and measured on it: quantities, statements, and what hides what.

A *quantity* is a number in [0, 1] that a judge reads off a picture. A *statement* is something a caption may say;
whether it is true of an avatar follows from the quantities. Between true and false lies a band in which nothing is
said, because nobody could tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatars.world.factors import BACKGROUNDS, FEATURES, HAIR_COLOURS, IDENTITY, Parameters

QUANTITIES = (
    *IDENTITY,
    *FEATURES,
    *(f"hair_{colour}" for colour in HAIR_COLOURS),
    *(f"background_{colour}" for colour in BACKGROUNDS),
)
COLUMN = {name: column for column, name in enumerate(QUANTITIES)}
HAIR_COLUMNS = tuple(COLUMN[f"hair_{colour}"] for colour in HAIR_COLOURS)
BACKGROUND_COLUMNS = tuple(COLUMN[f"background_{colour}"] for colour in BACKGROUNDS)

HIDDEN_BY = {
    "hair_length": ("bald",),
    "fringe": ("bald",),
    "eye_size": ("sunglasses",),
    "blue_eyes": ("sunglasses",),
    "eye_spacing": ("sunglasses",),
    "glasses": ("sunglasses",),
    **{f"hair_{colour}": ("bald",) for colour in HAIR_COLOURS},
}
"""quantity → the quantities that, when present, make it invisible."""


def truth(p: Parameters) -> Tensor:
    """Drawing parameters of N avatars → quantities [N, len(QUANTITIES)] in [0, 1] (smile: 0 frown, 1 smile)."""
    columns = [p.value[name] for name in (*IDENTITY, *FEATURES)]
    columns[QUANTITIES.index("smile")] = (p.value["smile"] + 1) / 2
    return torch.cat([torch.stack(columns, dim=1), p.hair, p.background], dim=1)


def visible(quantities: Tensor) -> Tensor:
    """Quantities [N, K] → which of them can be seen, float 0/1 [N, K]."""
    seen = torch.ones_like(quantities)
    for name, hiders in HIDDEN_BY.items():
        for hider in hiders:
            seen[:, COLUMN[name]] *= (quantities[:, COLUMN[hider]] < 0.5).float()
    return seen


@dataclass(frozen=True)
class Statement:
    """Something a caption may say: true where the quantity lies above `low_or_high` (or below, when `below`).

    `phrases` are noun phrases that follow "with"; the first is the one used in edits and zero-shot tests.
    `group` names statements of which one at most is true; `common` is the relative frequency in captions.
    `adjective` may stand before the subject instead ("a smiling face"); `worn` things may follow "wearing".
    """

    name: str
    quantity: str
    phrases: tuple[str, ...]
    threshold: float
    below: bool = False
    group: str = ""
    common: float = 1.0
    adjective: str = ""
    worn: bool = False

    def holds(self, quantities: Tensor) -> Tensor:
        """bool [N]: the statement is true and can be seen."""
        value = quantities[:, COLUMN[self.quantity]]
        clear = value < self.threshold if self.below else value > self.threshold
        hidden = [quantities[:, COLUMN[hider]] > 0.5 for hider in HIDDEN_BY.get(self.quantity, ())]
        if self.name == "no glasses":
            return clear & (quantities[:, COLUMN["sunglasses"]] < 0.5)
        for other in hidden:
            clear = clear & ~other
        return clear


def _present(
    quantity: str, *phrases: str, adjective: str = "", worn: bool = False
) -> tuple[Statement, Statement]:
    """The pair "with X" / "with no X" of a presence attribute."""
    bare = phrases[0].removeprefix("a ").removeprefix("an ")
    return (
        Statement(quantity.replace("_", " "), quantity, phrases, 0.6, False, quantity, 1.0, adjective, worn),
        Statement(f"no {quantity.replace('_', ' ')}", quantity, (f"no {bare}",), 0.4, True, quantity, 0.3),
    )


STATEMENTS: tuple[Statement, ...] = (
    *_present("glasses", "glasses", "eyeglasses", worn=True),
    Statement("sunglasses", "sunglasses", ("sunglasses", "dark glasses"), 0.6, group="glasses", worn=True),
    *_present("hat", "a hat", "a knitted hat", worn=True),
    *_present("beard", "a beard", adjective="bearded"),
    *_present("lipstick", "red lipstick", "lipstick", "make-up", worn=True),
    *_present("earrings", "earrings", "gold earrings", worn=True),
    *_present("rosy_cheeks", "rosy cheeks", "pink cheeks"),
    *_present("fringe", "a fringe", "bangs"),
    Statement("bald", "bald", ("a bald head", "no hair"), 0.6, adjective="bald"),
    Statement("long hair", "hair_length", ("long hair",), 0.7, group="length"),
    Statement("short hair", "hair_length", ("short hair",), 0.3, True, "length"),
    Statement("smile", "smile", ("a smile", "a happy smile"), 0.72, group="smile", adjective="smiling"),
    Statement("frown", "smile", ("a frown", "a sad mouth"), 0.28, True, "smile", adjective="sad"),
    Statement("open mouth", "mouth_open", ("an open mouth",), 0.6, group="mouth"),
    Statement("closed mouth", "mouth_open", ("a closed mouth",), 0.4, True, "mouth", 0.4),
    Statement("big eyes", "eye_size", ("big eyes", "large eyes"), 0.68, group="eye size", common=0.7),
    Statement("small eyes", "eye_size", ("small eyes",), 0.32, True, "eye size", 0.7),
    Statement("blue eyes", "blue_eyes", ("blue eyes",), 0.6, group="eye colour"),
    Statement("brown eyes", "blue_eyes", ("brown eyes",), 0.4, True, "eye colour", 0.6),
    Statement("dark skin", "skin", ("dark skin",), 0.7, group="skin", common=0.7),
    Statement("light skin", "skin", ("light skin", "pale skin"), 0.3, True, "skin", 0.7),
    *(
        Statement(
            f"{colour} hair", f"hair_{colour}", (f"{colour} hair",), 0.65, group="hair colour", common=1.2
        )
        for colour in HAIR_COLOURS
    ),
    *(
        Statement(
            f"{name} background", f"background_{key}", (f"a {name} background",), 0.65, group="background"
        )
        for key, name in zip(BACKGROUNDS, ("white", "blue", "green", "pink"), strict=True)
    ),
)
STATEMENT = {statement.name: statement for statement in STATEMENTS}


def holds(quantities: Tensor) -> Tensor:
    """Quantities [N, K] → bool [N, len(STATEMENTS)]: what may be said of each avatar."""
    return torch.stack([statement.holds(quantities) for statement in STATEMENTS], dim=1)
