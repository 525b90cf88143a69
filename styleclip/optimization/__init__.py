"""Latent optimization (paper §4): every image finds its own latent code under the words."""

from styleclip.optimization.latents import Moved
from styleclip.optimization.optimize import Optimized, optimize_latents
from styleclip.optimization.schedule import ramped_learning_rate
from styleclip.settings import OptimizationSettings, Space

__all__ = [
    "Moved",
    "OptimizationSettings",
    "Optimized",
    "Space",
    "optimize_latents",
    "ramped_learning_rate",
]
