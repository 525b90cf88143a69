"""Images on the device into latent codes: the encoder, and refinement where it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.optimization.refine import RefineSettings, refine
from styleclip.passes import in_passes, pass_size


def invert_images(models: Bundle, images: Tensor, refine_steps: int = 0, halvings: int = 0) -> Tensor:
    """images [n, 3, H, W] in [−1, 1] → w [n, num_ws, w_dim], in or out of inference mode.

    In passes of one size, so that not even the last bit depends on the batch; each of `halvings`, the times that
    memory ran out, makes them half as large. Raises BundleError for a bundle without an encoder.
    """
    encoder = models.need_encoder()
    size = max(pass_size(models.generator) >> halvings, 1)
    with torch.no_grad():
        w = in_passes(encoder, images, size)
    if not refine_steps:
        return w
    with torch.inference_mode(False):
        # copies made here can take part in a backward pass; tensors of inference mode cannot
        found = refine(
            models.generator,
            models.clip,
            models.identity,
            images.clone(),
            w.clone(),
            RefineSettings(refine_steps),
            together=size,
        )
    return found.w
