"""min over w of D_CLIP(G(w), t) + λ_L2·‖w − w_s‖² + λ_ID·L_ID(w) (paper §4, equation 1), many images at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from styleclip.directions.channel import ImageEncoder
from styleclip.losses import clip_loss, identity_loss, squared_distance
from styleclip.networks.generator import Generator
from styleclip.optimization.disturbance import disturb_codes, disturb_pictures
from styleclip.optimization.latents import Moved
from styleclip.optimization.schedule import ramped_learning_rate
from styleclip.passes import filled, in_passes, pass_size
from styleclip.settings import OptimizationSettings

PLATEAU = 1e-4
"""A loss must fall by this much to count as falling; 1 − cos is of size 1, so this is a hundredth of a percent."""

DROP_EVERY = 10
"""Steps between two looks at which images have stopped: each look waits for the device."""

CURVES = ("loss", "clip_loss", "l2_loss", "identity_loss")


@dataclass(frozen=True)
class Optimized:
    """What n optimizations ended with; the latent and the image belong together.

    moved [n, …]: the optimized part (see `Moved`); styles [n, C_total] and images [n, 3, H, W] made from it;
    steps int64 [n]: steps taken; finite bool [n]: False where the loss ceased to be a number;
    curves: "loss" and its unweighted terms, each [steps, n], NaN after an image has stopped.
    """

    moved: Tensor
    styles: Tensor
    images: Tensor
    steps: Tensor
    finite: Tensor
    curves: dict[str, Tensor]


@torch.enable_grad()
def optimize_latents(
    generator: Generator,
    clip: ImageEncoder,
    text: Tensor,
    w: Tensor,
    settings: OptimizationSettings,
    *,
    identity: Callable[[Tensor], Tensor] | None = None,
    source_identity: Tensor | None = None,
    std: Tensor | None = None,
    channels: Tensor | None = None,
    together: int | None = None,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Optimized:
    """Optimize the latent codes w [n, num_ws, w_dim] towards text (unit, [D] or [n, D]).

    Each image has its own optimum: losses are per sample, Adam works on each number for itself, and the networks see
    `together` (default: `pass_size`) images at a time, so that a batch gives what its images give alone. An image
    that stops early, or whose loss is no longer finite, leaves the passes and keeps the latent that its last loss was
    measured at (noise aside). `identity` and `source_identity` [n, E], the embeddings R(G(w_s)), are needed where
    λ_ID > 0; std [C_total], the deviation of every style channel, where the settings say in_sigma. In S, `channels`,
    int64 indices into s, are the only ones that move.
    `watch(step, rows, images)` sees the pictures of images `rows` [k] before each step.

    Noise is constant. The image that is returned belongs to the last latent (the published code returns the image
    from before the last update); it is the last, not the best one, as there. Not to be called in inference mode.
    """
    assert not torch.is_inference_mode_enabled(), "gradients cannot be had in inference mode"
    assert settings.lambda_id == 0 or (identity is not None and source_identity is not None), (
        "λ_ID > 0 needs an identity network and the sources' embeddings"
    )
    assert (std is not None) == settings.in_sigma, "in_sigma and the channels' deviations belong together"
    n, size = len(w), together or pass_size(generator)
    texts = text.expand(n, -1)
    code = Moved(generator, w, settings.space, settings.torgb, size, std, channels)
    # all images stay in Adam's hands: what it does to one that has stopped is never looked at
    latent = code.start.clone().requires_grad_()
    adam = torch.optim.Adam([latent], lr=settings.learning_rate)
    record = _Record(code.start, settings)
    rows = torch.arange(n, device=w.device)
    for step in range(settings.steps):
        adam.param_groups[0]["lr"] = ramped_learning_rate(step / settings.steps, settings.learning_rate)
        adam.zero_grad(set_to_none=True)
        for part in rows.split(size):
            at = filled(part, size)
            moved = latent[at]
            images = generator.synthesize(code.styles(disturb_codes(moved, step, settings), at))
            terms = {
                "clip_loss": clip_loss(clip, disturb_pictures(images, step, settings), texts[at]),
                "l2_loss": squared_distance(moved, code.start[at]),
            }
            loss = terms["clip_loss"] + settings.lambda_l2 * terms["l2_loss"]
            if identity is not None and source_identity is not None and settings.lambda_id > 0:
                terms["identity_loss"] = identity_loss(identity, source_identity[at], images)
                loss = loss + settings.lambda_id * terms["identity_loss"]
            if watch is not None:
                watch(step, part, images.detach()[: len(part)])
            going = record.add(step, part, moved.detach(), {"loss": loss, **terms})
            # fillers and images that have stopped count for nothing, not even as 0 · NaN
            torch.where(_padded(going, size), loss, 0.0).sum().backward()
        adam.step()
        if (step + 1) % DROP_EVERY == 0:
            rows = torch.nonzero(record.running)[:, 0]
            if len(rows) == 0:
                break
    with torch.no_grad():
        moved = torch.where(_like(record.running, latent), latent, record.moved)
        everyone = torch.arange(n, device=w.device)
        styles = in_passes(lambda at: code.styles(moved[at], at), everyone, size)
        images = in_passes(generator.synthesize, styles, size)
        finite = record.finite & images.flatten(1).isfinite().all(dim=1)
    return Optimized(moved, styles, images, record.taken, finite, record.curves)


class _Record:
    """What is kept of n optimizations while they run, all on the device."""

    def __init__(self, start: Tensor, settings: OptimizationSettings) -> None:
        n, device = len(start), start.device
        self.patience = settings.patience
        self.moved = start.clone()
        self.running = torch.ones(n, dtype=torch.bool, device=device)
        self.finite = self.running.clone()
        self.taken = torch.zeros(n, dtype=torch.int64, device=device)
        self.curves = {name: torch.full((settings.steps, n), torch.nan, device=device) for name in CURVES}
        self._best = torch.full((n,), torch.inf, device=device)
        self._since = torch.zeros_like(self.taken)

    @torch.no_grad()
    def add(self, step: int, rows: Tensor, moved: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """Note the losses of images `rows` [k], the first k of a pass; bool [k]: which of them go on."""
        k, going = len(rows), self.running[rows]
        for name, term in terms.items():
            self.curves[name][step, rows] = torch.where(going, term.detach()[:k], torch.nan)
        loss = terms["loss"].detach()[:k]
        self.moved[rows] = torch.where(_like(going, moved), moved[:k], self.moved[rows])
        sound = loss.isfinite()
        self.finite[rows] &= sound | ~going
        fell = loss < self._best[rows] - PLATEAU
        self._best[rows] = torch.where(fell, loss, self._best[rows])
        self._since[rows] = torch.where(fell, 0, self._since[rows] + 1)
        going = going & sound
        if self.patience:
            going = going & (self._since[rows] < self.patience)
        self.running[rows] = going
        self.taken[rows] += going
        return going


def _padded(mask: Tensor, size: int) -> Tensor:
    """bool [k] → [size], False at the end."""
    return torch.cat([mask, mask.new_zeros(size - len(mask))])


def _like(mask: Tensor, values: Tensor) -> Tensor:
    """bool [n] → [n, 1, …], to choose whole rows of `values`."""
    return mask.view(-1, *([1] * (values.ndim - 1)))
