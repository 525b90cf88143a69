"""What every method of editing takes and gives, so that one run may mix them.

A method is an `Edit`, what one edit asks for, and a function that makes a `CompiledEdit` of it;
`styleclip.methods.METHODS` is the one place that lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.directions import ChannelDirections
from styleclip.directions.readings import sample_readings
from styleclip.edits import Edit
from styleclip.errors import BundleError, EditError
from styleclip.methods.measures import Seen
from styleclip.methods.words import Wording


def no_directions() -> ChannelDirections:
    """For settings without a directions store: says what is missing."""
    raise BundleError(
        "this edit needs channel directions: make them with `styleclip precompute` and pass their store"
    )


@contextmanager
def local_file(name: str) -> Iterator[Path]:
    """A mapper's file by its path. Raises EditError when it is not there."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise EditError(f"mapper file {path} does not exist")
    yield path


@dataclass(frozen=True, eq=False)
class Setting:
    """What edits are compiled with: models, and how to get at directions and at mapper files when a method asks.

    `load_directions` raises BundleError where there are none; `load_readings` gives readings that were kept, None: they
    are taken anew; `mapper_file` holds a local file while its block runs.
    """

    models: Bundle
    load_directions: Callable[[], ChannelDirections] = no_directions
    mapper_file: Callable[[str], AbstractContextManager[Path]] = local_file
    load_readings: Callable[[], Tensor] | None = None

    @cached_property
    def channel_directions(self) -> ChannelDirections:
        """Δi_c of the models, loaded when first asked for."""
        return self.load_directions()

    @cached_property
    def readings(self) -> Tensor:
        """Unit CLIP embeddings [N, D] of the generator's own pictures: what strengths are found by."""
        if self.load_readings is not None:
            return self.load_readings()
        models = self.models
        return sample_readings(models.generator, models.clip, models.truncation_psi)


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
    measures: metrics columns that only this method has, each [n], whole numbers as an integer dtype;
    lost: place in the batch → why there is no usable image at this place;
    curves: name → [steps, n], NaN where an image had stopped; stages: step → picture on the way, uint8 [n, H, W, 3].
    """

    images: Tensor
    styles: Tensor
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    lost: Mapping[int, str] = field(default_factory=dict)
    curves: Mapping[str, Tensor] = field(default_factory=dict)
    stages: Mapping[int, Tensor] = field(default_factory=dict)


class CompiledEdit(Protocol):
    """One edit, ready for batches of images."""

    @property
    def edit(self) -> Edit:
        """What was asked for; its target is never None here."""

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
