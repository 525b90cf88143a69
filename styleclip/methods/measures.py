"""What an edit did to an image, as numbers for its row; batched, on the device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.methods.words import Wording
from styleclip.metrics import (
    clip_similarity,
    clipped_share,
    directional_similarity,
    identity_similarity,
    pixel_distance,
)


@dataclass(frozen=True)
class Seen:
    """Images [n, 3, H, W] and what networks see in them: clip [n, D] (the guide), identity [n, E] unit, and
    judge [n, J], where the bundle has a CLIP that guides nothing."""

    images: Tensor
    clip: Tensor
    identity: Tensor | None
    judge: Tensor | None = None

    def part(self, rows: slice) -> Seen:
        """Some of the images."""
        identity = None if self.identity is None else self.identity[rows]
        judge = None if self.judge is None else self.judge[rows]
        return Seen(self.images[rows], self.clip[rows], identity, judge)


def see(models: Bundle, images: Tensor) -> Seen:
    """Embed a batch of images [n, 3, H, W] in [−1, 1]."""
    identity = None if models.identity is None else models.identity(images)
    judge = None if models.judge_clip is None else models.judge_clip.encode_image(images)
    return Seen(images, models.clip.encode_image(images), identity, judge)


def inversion_measures(source: Seen, reconstruction: Seen) -> dict[str, Tensor]:
    """What inversion alone has changed, each [n]: kept apart, so that an edit is not blamed for it."""
    measures = {"distance_source_reconstruction": pixel_distance(source.images, reconstruction.images)}
    if source.identity is not None and reconstruction.identity is not None:
        measures["identity_source_reconstruction"] = identity_similarity(
            source.identity, reconstruction.identity
        )
    return measures


def edit_measures(reconstruction: Seen, edited: Seen, words: Wording) -> dict[str, Tensor]:
    """What the edit has changed, each [n]."""
    before, after = (clip_similarity(seen.clip, words.target[None]) for seen in (reconstruction, edited))
    measures = {
        "clip_before": before,
        "clip_after": after,
        "clip_gain": after - before,
        "directional_similarity": directional_similarity(reconstruction.clip, edited.clip, words.direction),
        "distance_reconstruction_edit": pixel_distance(reconstruction.images, edited.images),
        "clipped_share": clipped_share(edited.images),
    }
    if words.judge is not None and reconstruction.judge is not None and edited.judge is not None:
        target, direction = words.judge
        measures |= {
            "judge_clip_before": clip_similarity(reconstruction.judge, target[None]),
            "judge_clip_after": clip_similarity(edited.judge, target[None]),
            "judge_directional_similarity": directional_similarity(
                reconstruction.judge, edited.judge, direction
            ),
        }
    if reconstruction.identity is not None and edited.identity is not None:
        measures["identity_reconstruction_edit"] = identity_similarity(
            reconstruction.identity, edited.identity
        )
    return measures
