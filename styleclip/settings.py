"""What runs and optimizations can be asked for, as plain values: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "tf32", "bfloat16"]
"""float32: everywhere, convolutions included. tf32: convolutions and matrix products of CUDA devices round their
inputs to 10 bits of mantissa (A100, H100 and later: faster, pictures differ by up to 2e-3); elsewhere the same as
float32. bfloat16: synthesis computes in bfloat16, all other networks (CLIP, identity, encoder) in float32."""

Space = Literal["w+", "s"]


@dataclass(frozen=True)
class OptimizationSettings:
    """How a latent optimization is carried out. Defaults are the published ones (paper §4).

    space: "w+" moves all of w [num_ws, w_dim]; "s" moves the style channels of the convolutions, with `torgb` those of
    ToRGB as well. learning_rate is the peak (see `ramped_learning_rate`). lambda_l2 weighs the *sum* of squared
    differences to the source in the units of the space, lambda_id the loss of identity. patience: an image stops when
    its loss has not fallen by `PLATEAU` for so many steps; 0: never.

    Ours, off unless asked for, and against codes that please CLIP without changing the picture: in_sigma moves the
    channels of S in units of their standard deviation, so that those which no picture varies stay. CLIP sees the
    picture with noise of the standard deviation clip_noise (the range is −1 … 1), shifted by at most clip_shift of its
    side, both anew at every step. latent_noise is the standard deviation of noise on what moves, in its units, at the
    first step (see `ramped_noise`); the distance to the source is measured without it.
    """

    space: Space = "w+"
    steps: int = 300
    learning_rate: float = 0.1
    lambda_l2: float = 0.008
    lambda_id: float = 0.0
    torgb: bool = False
    patience: int = 0
    in_sigma: bool = False
    clip_noise: float = 0.0
    clip_shift: float = 0.0
    latent_noise: float = 0.0

    def __post_init__(self) -> None:
        assert self.steps >= 1 and self.learning_rate > 0 and self.patience >= 0, self
        assert self.space == "s" or not self.in_sigma, self
        assert self.clip_noise >= 0 and 0 <= self.clip_shift <= 0.5 and self.latent_noise >= 0, self
        assert self.lambda_l2 >= 0 and self.lambda_id >= 0, self
