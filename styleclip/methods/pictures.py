"""One picture edited in a notebook: a PIL image and words in, a PIL image out."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps

from styleclip.bundles.load import Bundle
from styleclip.directions import ChannelDirections
from styleclip.edits import Edit
from styleclip.encode import invert_images
from styleclip.errors import EditError
from styleclip.methods import compile_edit
from styleclip.methods.face import InvertedBatch, Setting, no_directions
from styleclip.methods.measures import see
from styleclip.pixels import from_bytes, to_bytes


@torch.inference_mode()
def edit_picture(
    picture: Image.Image,
    edit: Edit,
    models: Bundle,
    directions: ChannelDirections | None = None,
    refine_steps: int = 0,
) -> Image.Image:
    """What `edit` makes of an aligned picture; its middle square is taken, in the generator's size.

    `directions` are needed by global edits and by optimizations of chosen channels (`ChannelDirections.of`).
    Raises BundleError, PromptError and EditError for what cannot be done.
    """
    setting = Setting(models, no_directions if directions is None else lambda: directions)
    compiled = compile_edit(setting, edit)
    square = ImageOps.fit(
        picture.convert("RGB"), (models.image_size, models.image_size), Image.Resampling.LANCZOS
    )
    w = invert_images(models, from_bytes(np.asarray(square)[None].copy(), models.device), refine_steps)
    s = models.generator.styles(w)
    edited = compiled.apply(models, InvertedBatch(w, s, see(models, models.generator.synthesize(s))))
    if edited.lost:
        raise EditError(f"the edit has no picture to show: {edited.lost[0]}")
    return Image.fromarray(to_bytes(edited.images)[0].cpu().numpy())
