"""What disturbs an optimization on purpose, so that it does not end in the first code that pleases CLIP by accident.

All of it depends on the step alone: every image is disturbed alike, and none depends on its company.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.optimization.schedule import ramped_noise
from styleclip.settings import OptimizationSettings

SEEDS_OF_CODES = 1 << 31
"""The numbers for latent codes are drawn with seeds from here on, those for pictures with seeds below; torch's
generator for the CPU looks at the lower 32 bits of a seed alone."""


def disturb_codes(moved: Tensor, step: int, settings: OptimizationSettings) -> Tensor:
    """The moved part of the codes [k, …] with this step's noise on it; the same noise on each of them.

    A flat stretch of the loss, where the gradient leads nowhere, is left behind, because codes beside it are looked at
    as well; the noise ramps down, and the last quarter of the steps has none (Karras et al. 2020, appendix D).
    """
    deviation = ramped_noise(step / settings.steps, settings.latent_noise)
    if not deviation:
        return moved
    return moved + deviation * _normal(moved.shape[1:], SEEDS_OF_CODES + step).to(moved.device)


def disturb_pictures(images: Tensor, step: int, settings: OptimizationSettings) -> Tensor:
    """What CLIP sees of images [k, 3, R, R] at this step: shifted, their edges continued, and with noise on them."""
    size, reach = images.shape[-1], round(settings.clip_shift * images.shape[-1])
    if reach:
        draw = torch.Generator().manual_seed(step)
        down, right = torch.randint(0, 2 * reach + 1, (2,), generator=draw).tolist()
        padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
        images = padded[..., down : down + size, right : right + size]
    if settings.clip_noise:
        images = images + settings.clip_noise * _normal((3, size, size), step).to(images.device)
    return images


def _normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
