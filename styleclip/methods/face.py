"""What every method of editing takes and gives, so that one run may mix them.

A method is a class that satisfies `CompiledEdit`, and a function that makes it from an edit in words: see
`tasks.edit.compile.COMPILERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.methods.measures import Seen
from styleclip.methods.words import Wording
from tasks.inputs.decode import Failure
from tasks.process.models import ChannelDirections, bundle, directions, store_of


@dataclass(frozen=True)
class Setting:
    """Where edits are compiled: bundle, device, and the directions store that was asked for (None: the bundle's)."""

    bundle: str
    device: str
    directions: str | None

    @property
    def models(self) -> Bundle:
        """The models; the same object at every call in this process."""
        return bundle(self.bundle, self.device)

    @property
    def channel_directions(self) -> ChannelDirections:
        """The directions to use, checked to fit the bundle. Raises BundleError when there are none."""
        return directions(store_of(self.bundle, self.device, self.directions), self.bundle, self.device)


@dataclass(frozen=True)
class InvertedBatch:
    """n inverted images: w [n, num_ws, w_dim], s = styles(w) [n, C_total], and what is seen in their reconstruction.

    halvings: how often the batch of this edit was halved for lack of memory; a method whose passes have a size of
    their own halves that as often.
    """

    w: Tensor
    s: Tensor
    seen: Seen
    halvings: int = 0

    def __len__(self) -> int:
        return len(self.w)

    def part(self, rows: slice, halvings: int) -> InvertedBatch:
        """Some of the images."""
        return InvertedBatch(self.w[rows], self.s[rows], self.seen.part(rows), halvings)


@dataclass(frozen=True)
class Edited:
    """What one edit made of a batch of n images.

    images float [n, 3, H, W] about [−1, 1] and styles [n, C_total], the style vectors that they were made from;
    measures: metrics columns that only this method has, each [n];
    failures: place in the batch → why there is no usable image at this place;
    curves: name → [steps, n], NaN where an image had stopped; stages: step → picture on the way, uint8 [n, H, W, 3].
    """

    images: Tensor
    styles: Tensor
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    failures: Mapping[int, Failure] = field(default_factory=dict)
    curves: Mapping[str, Tensor] = field(default_factory=dict)
    stages: Mapping[int, Tensor] = field(default_factory=dict)


class CompiledEdit(Protocol):
    """One edit, ready for batches of images."""

    @property
    def words(self) -> Mapping[str, Any]:
        """The edit as planned; name, method, neutral and target at least."""

    @property
    def wording(self) -> Wording:
        """The words as CLIP embeds them."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """Metrics columns that are the same for every image: strengths, thresholds, weights of losses."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What decides the result besides words and bundle, for example the sha256 of a file; mostly empty."""

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """Edit a batch. Called in inference mode; results must not depend on what else is in the batch."""
