"""The proof: do edits do what their words say, and nothing else? On avatars the truth can be read off by a judge.

α and the number of channels are chosen on one set of avatars with the *chooser*; another set is scored by the
*scorer*. Both judges compare the edit with the reconstruction of the same picture, so that inversion error is not
blamed on the edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from avatars.judging.judges import Judge
from avatars.world.attributes import (
    BACKGROUND_COLUMNS,
    COLUMN,
    HAIR_COLUMNS,
    HIDDEN_BY,
    QUANTITIES,
    STATEMENT,
    STATEMENTS,
    Statement,
    visible,
)
from avatars.world.captions import NEUTRAL, prompt
from avatars.world.phrases import said
from avatars.world.samples import sample_pictures
from styleclip.bundles.load import Bundle
from styleclip.directions.style import StyleDirection, expand, style_direction, weighted_style_direction
from styleclip.directions.text import text_direction
from styleclip.methods import GlobalEdit, InvertedBatch, Setting, compile_edit
from styleclip.methods.direction import DirectedEdit
from styleclip.methods.measures import see
from styleclip.metrics import clip_similarity, identity_similarity

ALPHAS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0)
CHANNELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MARGIN = 0.5
"""Of the room between an aim and perfection; a strength that keeps so far from both aims is good enough."""
CHOOSE_SEED = 1
WORDS_BATCH = 16
UNNAMED = {COLUMN[name] for name in QUANTITIES} - {COLUMN[statement.quantity] for statement in STATEMENTS}
WANTED_SUCCESS, ALLOWED_CHANGE = 0.90, 0.05


@dataclass(frozen=True)
class Strength:
    """How an edit is carried out: α in σ of the strongest channel, and how many channels may move."""

    alpha: float
    channels: int


@dataclass(frozen=True)
class Score:
    """One edit on many avatars, all as shares or means over the pictures that could show the target and did not.

    `worst_change` is the largest mean |change| among unrelated named quantities (each in [0, 1]), `worst` its name;
    `flipped` the largest share of pictures in which an unrelated quantity crosses the middle clearly; `followed` the
    share that CLIP saw reach the aim, where a strength was looked for and `alpha` is the median of what was found.
    """

    edit: str
    method: str
    alpha: float
    channels: int
    beta: float
    pictures: int
    success: float
    worst_change: float
    worst: str
    mean_change: float
    flipped: float
    identity: float
    clip_gain: float
    followed: float = float("nan")

    @property
    def reached(self) -> bool:
        """The aim: ≥ 90 % success at ≤ 5 % change of each unrelated attribute."""
        return self.success >= WANTED_SUCCESS and self.worst_change <= ALLOWED_CHANGE

    def to_row(self) -> dict[str, Any]:
        """Plain values for a table."""
        return asdict(self) | {"reached": self.reached}


def related(statement: Statement) -> set[int]:
    """Columns that are not held against an edit: its own quantity, its rivals, what it hides, and what has no name.

    No caption speaks of noses, brows, the width of a face or the distance of eyes, and the judges read some of them
    badly (see the gates): they belong to the identity similarity.
    """
    columns = {COLUMN[statement.quantity]} | UNNAMED
    for group in (HAIR_COLUMNS, BACKGROUND_COLUMNS):
        if columns & set(group):
            columns |= set(group)
    if statement.quantity in ("glasses", "sunglasses"):
        columns |= {COLUMN["glasses"], COLUMN["sunglasses"]}
    columns |= {COLUMN[hidden] for hidden, hiders in HIDDEN_BY.items() if statement.quantity in hiders}
    return columns


def editable(statement: Statement, quantities: Tensor) -> Tensor:
    """bool [N]: the statement is not true yet and could be seen (a bald head has no hair colour to change)."""
    return ~statement.holds(quantities) & (visible(quantities)[:, COLUMN[statement.quantity]] > 0)


def editable_by(claims: Sequence[Statement], quantities: Tensor) -> Tensor:
    """bool [N]: not all claims are true yet, and every one that is not could be seen."""
    each = torch.stack([claim.holds(quantities) | editable(claim, quantities) for claim in claims])
    return each.all(dim=0) & ~torch.stack([claim.holds(quantities) for claim in claims]).all(dim=0)


def unrelated_change(statement: Statement, before: Tensor, after: Tensor) -> Tensor:
    """Mean |change| [K] of every quantity where it can be seen before and after [n, K]; 0 for related ones."""
    seen = visible(before) * visible(after)
    mean = ((after - before).abs() * seen).sum(dim=0) / seen.sum(dim=0).clamp(min=1)
    mean[list(related(statement))] = 0
    return mean


def clearly_flipped(statement: Statement, before: Tensor, after: Tensor) -> Tensor:
    """Share of pictures [K] in which a quantity moves by more than half of its range; 0 for related ones."""
    seen = visible(before) * visible(after)
    flipped = ((after - before).abs() * seen > 0.5).float().sum(dim=0) / seen.sum(dim=0).clamp(min=1)
    flipped[list(related(statement))] = 0
    return flipped


@dataclass(frozen=True)
class Pictures:
    """Held-out avatars on the device: sources, their styles and reconstructions, and what a judge sees in these."""

    source: Tensor
    styles: Tensor
    reconstruction: Tensor
    quantities: Tensor


@torch.no_grad()
def invert(bundle: Bundle, images: Tensor, judge: Judge, batch: int = 50) -> Pictures:
    """Encode and reconstruct images [N, 3, 64, 64]."""
    assert bundle.encoder is not None
    images = images.to(bundle.clip.device)
    styles = torch.cat([bundle.generator.styles(bundle.encoder(part)) for part in images.split(batch)])
    drawn = torch.cat([bundle.generator.synthesize(part) for part in styles.split(batch)]).clamp(-1, 1)
    return Pictures(images, styles, drawn, torch.cat([judge(part) for part in drawn.split(batch)]))


class Evaluation:
    """All edits of one bundle under one judge pair; the text directions are computed once."""

    def __init__(
        self,
        bundle: Bundle,
        directions: Tensor,
        std: Tensor,
        magnitude: Tensor,
        chooser: Judge,
        scorer: Judge,
    ) -> None:
        self.bundle, self.directions, self.std, self.magnitude = bundle, directions, std, magnitude
        self.chooser, self.scorer = chooser, scorer

    def direction(self, edit: str, channels: int, method: str = "global") -> StyleDirection:
        """Δs of an edit by name."""
        dt = text_direction(self.bundle.clip, prompt(edit), NEUTRAL, self.bundle.templates)
        if method == "global-weighted":
            return weighted_style_direction(self.magnitude, dt, channels=channels, std=self.std)
        return style_direction(self.directions, dt, channels=channels, std=self.std)

    @torch.no_grad()
    def draw(self, styles: Tensor, direction: StyleDirection, alpha: float, batch: int = 50) -> Tensor:
        """G(s + αΔs), clamped to [−1, 1]."""
        shift = alpha * expand(self.bundle.generator.layout, direction.delta)
        return torch.cat(
            [self.bundle.generator.synthesize(part + shift) for part in styles.split(batch)]
        ).clamp(-1, 1)

    def choose(self, edit: str, pictures: Pictures, method: str = "global") -> Strength:
        """The strength furthest from missing either aim, by the chooser; of equals, the one that moves least."""
        statement = STATEMENT[edit]
        rows = editable(statement, pictures.quantities)
        styles, before = pictures.styles[rows], pictures.quantities[rows]
        best, best_value = Strength(ALPHAS[0], CHANNELS[0]), -float("inf")
        for channels in CHANNELS:
            direction = self.direction(edit, channels, method)
            for alpha in ALPHAS:
                image = self.draw(styles, direction, alpha)
                after = torch.cat([self.chooser(part) for part in image.split(50)])
                success = float(statement.holds(after).float().mean())
                mean = unrelated_change(statement, before, after)
                worst = float(mean.max())
                margin = min(
                    (success - WANTED_SUCCESS) / (1 - WANTED_SUCCESS),
                    (ALLOWED_CHANGE - worst) / ALLOWED_CHANGE,
                    MARGIN,
                )
                value = margin - float(mean.mean())
                if value > best_value:
                    best, best_value = Strength(alpha, channels), value
                if success >= 0.97 or worst > 3 * ALLOWED_CHANGE:
                    break  # Stronger of the same changes more of everything else.
        return best

    @torch.no_grad()
    def score(
        self, edit: str, strength: Strength, pictures: Pictures, method: str = "global"
    ) -> tuple[Score, Tensor]:
        """Score one edit of a given strength on pictures that chose nothing; and the edited ones [n, 3, H, W]."""
        rows = editable(STATEMENT[edit], pictures.quantities)
        direction = self.direction(edit, strength.channels, method)
        image = self.draw(pictures.styles[rows], direction, strength.alpha)
        how = {"edit": edit, "method": method, "alpha": strength.alpha}
        score = self.judged(
            how, direction.channels_used, direction.beta, prompt(edit), [STATEMENT[edit]], pictures, image
        )
        return score, image

    @torch.no_grad()
    def score_words(
        self, edit: str, setting: Setting, pictures: Pictures, method: str = "global"
    ) -> tuple[Score, Tensor]:
        """Score what the words of an edit do when nothing else is said; and the edited pictures [n, 3, H, W].

        edit: a statement about avatars, or one of `avatars.world.phrases`.
        """
        words, claims = said(edit)
        rows = editable_by(claims, pictures.quantities)
        compiled = compile_edit(setting, GlobalEdit(method=method, target=words, neutral=NEUTRAL))
        assert isinstance(compiled, DirectedEdit)
        parts = []
        for s, source in zip(
            pictures.styles[rows].split(WORDS_BATCH),
            pictures.reconstruction[rows].split(WORDS_BATCH),
            strict=True,
        ):
            # global edits look at styles alone: w is not asked for
            parts.append(compiled.apply(self.bundle, InvertedBatch(s, s, see(self.bundle, source))))
        image = torch.cat([part.images for part in parts]).clamp(-1, 1)
        alpha = float(torch.cat([part.measures["alpha"] for part in parts]).median())
        how = {"edit": edit, "method": method, "alpha": alpha}
        score = self.judged(how, compiled.channels_used, compiled.beta, words, claims, pictures, image)
        reached = torch.cat([part.measures["reached"] for part in parts])
        return replace(score, followed=float(reached.float().mean())), image

    def judged(
        self,
        how: Mapping[str, Any],
        channels: int,
        beta: float,
        words: str,
        claims: Sequence[Statement],
        pictures: Pictures,
        image: Tensor,
    ) -> Score:
        """What the scorer makes of edited pictures [n, 3, H, W] of those that could show all claims and did not."""
        rows = editable_by(claims, pictures.quantities)
        before, source = pictures.quantities[rows], pictures.reconstruction[rows]
        after = torch.cat([self.scorer(part) for part in image.split(50)])
        # a quantity that any of the claims may change is held against none
        mean = torch.stack([unrelated_change(claim, before, after) for claim in claims]).amin(dim=0)
        flipped = torch.stack([clearly_flipped(claim, before, after) for claim in claims]).amin(dim=0)
        unrelated = len(mean) - len(set().union(*(related(claim) for claim in claims)))
        clip, identity = self.bundle.clip, self.bundle.identity
        text = clip.encode_text([words])
        gain = clip_similarity(clip.encode_image(image), text) - clip_similarity(
            clip.encode_image(source), text
        )
        worst = int(mean.argmax())
        return Score(
            **how,
            channels=channels,
            beta=beta,
            pictures=int(rows.sum()),
            success=float(torch.stack([claim.holds(after) for claim in claims]).all(dim=0).float().mean()),
            worst_change=float(mean[worst]),
            worst=QUANTITIES[worst],
            mean_change=float(mean.sum() / unrelated),
            flipped=float(flipped.max()),
            identity=float("nan")
            if identity is None
            else float(identity_similarity(identity(source), identity(image)).mean()),
            clip_gain=float(gain.mean()),
        )


def held_out(bundle: Bundle, judge: Judge, count: int, seed: int) -> Pictures:
    """`count` freshly drawn avatars that no model was trained on, inverted."""
    images, _ = sample_pictures(count, seed)
    return invert(bundle, images, judge)
