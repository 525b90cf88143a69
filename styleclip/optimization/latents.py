"""What an optimization moves: rows of W+, or channels of the style vector."""

from __future__ import annotations

import torch
from torch import Tensor

from styleclip.networks.generator import Generator
from styleclip.passes import in_passes
from styleclip.settings import Space


class Moved:
    """The part of the latent codes of n images that an optimization may move, and the way back to style vectors.

    w [n, num_ws, w_dim]; `start` is what moves: w itself, or [n, C] of s = styles(w), without the channels of ToRGB
    unless `torgb`, or only the channels int64 [C] where some are named. `together`: images in one pass (see
    `styleclip.passes`). With `scale` [C_total], in S, `start` is 0 and what moves are steps in units of it: a channel
    that never varies (scale 0) stays where it is.
    """

    def __init__(
        self,
        generator: Generator,
        w: Tensor,
        space: Space,
        torgb: bool,
        together: int,
        scale: Tensor | None = None,
        channels: Tensor | None = None,
    ) -> None:
        assert channels is None or (space == "s" and not torgb), "channels are for S, and chosen already"
        assert scale is None or (space == "s" and scale.shape == (generator.layout.total,)), "scale is for S"
        self.generator = generator
        self.columns: Tensor | None = None
        with torch.no_grad():
            self.s = in_passes(generator.styles, w, together)
        if space == "w+":
            self.start = w.clone()
        else:
            if not torgb:
                self.columns = (generator.layout.conv if channels is None else channels).to(w.device)
            self.start = (self.s if self.columns is None else self.s[:, self.columns]).clone()
        self.space, self.scale = space, scale
        if scale is not None:
            self.scale = scale if self.columns is None else scale[self.columns]
            self.start = torch.zeros_like(self.start)

    def styles(self, moved: Tensor, rows: Tensor) -> Tensor:
        """Style vectors [k, C_total] of the images `rows` [k] when their moved part is `moved` [k, …]."""
        if self.space == "w+":
            return self.generator.styles(moved)
        if self.scale is not None:
            moved = self.scale * moved
            if self.columns is None:
                return self.s[rows] + moved
            return self.s[rows].index_add(1, self.columns, moved)
        if self.columns is None:
            return moved
        return self.s[rows].index_copy(1, self.columns, moved)
