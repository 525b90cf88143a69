"""The on-device preprocessing against PIL's, in levels of 255."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from reference import arrays

from styleclip.clip.preprocess import preprocess, resize_matrix

MEAN, STD = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)


def levels(clip_input: torch.Tensor) -> torch.Tensor:
    """CLIP input → picture values in levels of 255."""
    return (clip_input * STD[:, None, None] + MEAN[:, None, None]) * 255


def as_input(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("size", [32, 64, 256])
def test_agrees_with_the_published_pil_path(size):
    numbers = arrays("h_clip_preprocess.npz")
    ours = preprocess(as_input(numbers[f"u8_{size}"].numpy()), 224, MEAN, STD)[0][:, ::3, ::3]
    difference = (levels(ours) - levels(numbers[f"clip_input_{size}_every3rd"])).abs()
    # PIL rounds to whole levels after each of its two passes; ours does not round.
    assert difference.mean() < 0.35 and difference.max() < 1.5


@pytest.mark.parametrize("shape", [(50, 80), (300, 200), (224, 224), (64, 64), (1000, 300)])
def test_agrees_with_open_clips_own_transform(shape):
    random = np.random.default_rng(shape[0])
    coarse = random.integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
    transform = open_clip.image_transform(224, is_train=False)
    theirs = transform(Image.fromarray(pixels))
    ours = preprocess(as_input(pixels), 224, MEAN, STD)[0]
    difference = (levels(ours) - levels(theirs)).abs()
    assert difference.mean() < 0.35 and difference.max() < 1.5


def test_equal_sizes_are_left_alone_and_values_are_clamped():
    image = torch.linspace(-1.5, 1.5, 3 * 64).view(1, 3, 8, 8)
    out = preprocess(image, 8, torch.zeros(3), torch.ones(3))
    assert torch.equal(out, (image.clamp(-1, 1) + 1) / 2)


def test_gradients_reach_the_picture():
    image = torch.zeros(1, 3, 16, 20, requires_grad=True)
    preprocess(image, 8, MEAN, STD).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


@pytest.mark.parametrize(("size_in", "size_out"), [(64, 224), (1024, 224), (7, 3), (5, 5)])
def test_rows_of_the_resize_matrix_sum_to_one(size_in, size_out):
    matrix = resize_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size_out))
