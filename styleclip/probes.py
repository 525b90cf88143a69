"""Who says how far an edit got: what methods are compared by."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from styleclip.clip import ClipModel


class Probe(Protocol):
    """Reads pictures before and after one edit; the readings [n, K] are its own affair.

    `reached` is what strengths are matched by; `verdict` holds means over the pictures, under the columns' names:
    success, dependency (mean change of what the edit should leave alone), worst_change and worst, as far as known.
    """

    def read(self, images: Tensor) -> Tensor:
        """Images [n, 3, H, W] in [−1, 1] → readings [n, K]."""

    def can_change(self, before: Tensor) -> Tensor:
        """bool [n]: the target is not there yet, and could be."""

    def reached(self, before: Tensor, after: Tensor) -> Tensor:
        """How much of the target is there after the edit, [n]; larger is more."""

    def verdict(self, before: Tensor, after: Tensor) -> dict[str, float | str]:
        """What can be said of all pictures together."""


class ClipProbe:
    """CLIP gain, where nothing better is known of the pictures: cos(after, target) − cos(before, target).

    target: unit text embedding [D].
    """

    def __init__(self, clip: ClipModel, target: Tensor) -> None:
        self.clip, self.target = clip, target

    def read(self, images: Tensor) -> Tensor:
        """Similarity to the target [n, 1]."""
        embedding = self.clip.encode_image(images)
        return (embedding @ self.target / embedding.norm(dim=1))[:, None]

    def can_change(self, before: Tensor) -> Tensor:
        """Every picture: CLIP draws no line between there and not there."""
        return before[:, 0].isfinite()

    def reached(self, before: Tensor, after: Tensor) -> Tensor:
        """The gain [n]."""
        return (after - before)[:, 0]

    def verdict(self, before: Tensor, after: Tensor) -> dict[str, float | str]:
        """Nothing: CLIP alone knows neither success nor other attributes."""
        return {}
