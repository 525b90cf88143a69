"""What optimization and mappers minimise (paper §4, equations 1 and 2); every loss is per sample, never a batch mean.

One value per sample keeps a batch separable: the gradient of each image is the one that it would have alone.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from styleclip.directions.channel import ImageEncoder


def clip_loss(clip: ImageEncoder, images: Tensor, text: Tensor) -> Tensor:
    """D_CLIP = 1 − cos(CLIP(image), text) → [N] (paper §4); gradients reach `images`.

    images [N, 3, H, W] about [−1, 1] of any size; text [D] or [N, D] of unit length. CLIP sees the picture as its own
    preprocessing makes it; the published code instead averages blocks of the raw picture and leaves out CLIP's mean
    and standard deviation.
    """
    seen = F.normalize(clip.encode_image(images), dim=1)
    assert text.shape in (seen.shape[1:], seen.shape), (
        f"text must be [{seen.shape[1]}] or {list(seen.shape)}, got {list(text.shape)}"
    )
    return 1 - (seen * text).sum(dim=1)


def identity_loss(identity: Callable[[Tensor], Tensor], source_embedding: Tensor, images: Tensor) -> Tensor:
    """L_ID = 1 − ⟨R(G(w_s)), R(G(w))⟩ → [N] (paper equation 2); gradients reach `images`.

    `identity` maps images [N, 3, H, W] to unit embeddings [N, E]; source_embedding [N, E] is unit, and computed once.
    """
    embedding = identity(images)
    assert source_embedding.shape == embedding.shape, (source_embedding.shape, embedding.shape)
    return 1 - (embedding * source_embedding).sum(dim=1)


def squared_distance(latent: Tensor, source: Tensor) -> Tensor:
    """‖w − w_s‖² → [N]: the *sum* over rows and coordinates, as the optimization weighs it (paper equation 1)."""
    assert latent.shape == source.shape, (latent.shape, source.shape)
    return (latent - source).square().flatten(1).sum(dim=1)


def mean_squared_distance(latent: Tensor, source: Tensor) -> Tensor:
    """The *mean* of (ŵ − w)² → [N], as the mapper's λ_L2 weighs it in the published code (paper §5)."""
    assert latent.shape == source.shape, (latent.shape, source.shape)
    return (latent - source).square().flatten(1).mean(dim=1)
