"""What changes in the course of an optimization: the learning rate, and the noise on the codes."""

from __future__ import annotations

import math


def ramped_learning_rate(t: float, peak: float, ramp_down: float = 0.25, ramp_up: float = 0.05) -> float:
    """Learning rate at t = step / steps in [0, 1): linear up over the first `ramp_up`, cosine down over the last
    `ramp_down` of the time, `peak` between (Karras et al. 2020, arXiv 1912.04958, appendix D).

    The very first step has rate 0, as in the published code.
    """
    assert 0 <= t < 1, f"t = step / steps lies in [0, 1), got {t}"
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / ramp_down))
    return peak * down * min(1.0, t / ramp_up)


def ramped_noise(t: float, peak: float, ramp: float = 0.75) -> float:
    """Deviation of the noise on latent codes at t = step / steps in [0, 1): from `peak` down to 0 at `ramp`, squared
    (Karras et al. 2020, arXiv 1912.04958, appendix D, where the peak is 0.05 σ_w).
    """
    assert 0 <= t < 1, f"t = step / steps lies in [0, 1), got {t}"
    return peak * max(0.0, 1 - t / ramp) ** 2
