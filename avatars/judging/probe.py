"""A judge of avatars as a probe: methods are compared by the attribute itself, not by what CLIP thinks of it."""

from __future__ import annotations

from torch import Tensor

from avatars.judging.evaluation import editable, related, unrelated_change
from avatars.judging.judges import Judge
from avatars.world.attributes import COLUMN, QUANTITIES, STATEMENT


class AttributeProbe:
    """One statement, for example "red hair", read by one judge; see `styleclip.probes.Probe`."""

    def __init__(self, judge: Judge, edit: str) -> None:
        self.judge, self.statement = judge, STATEMENT[edit]

    def read(self, images: Tensor) -> Tensor:
        """Quantities [n, len(QUANTITIES)] of images [n, 3, 64, 64]."""
        return self.judge(images.clamp(-1, 1))

    def can_change(self, before: Tensor) -> Tensor:
        """bool [n]: the statement is not true yet and could be seen."""
        return editable(self.statement, before)

    def reached(self, before: Tensor, after: Tensor) -> Tensor:
        """The statement's quantity [n], turned around where the statement says that there is little of it."""
        value = after[:, COLUMN[self.statement.quantity]]
        return 1 - value if self.statement.below else value

    def verdict(self, before: Tensor, after: Tensor) -> dict[str, float | str]:
        """Success, and how far everything unrelated has moved (mean, and the one that moved most)."""
        change = unrelated_change(self.statement, before, after)
        worst = int(change.argmax())
        return {
            "success": float(self.statement.holds(after).float().mean()),
            "dependency": float(change.sum() / (len(change) - len(related(self.statement)))),
            "worst_change": float(change[worst]),
            "worst": QUANTITIES[worst],
        }
