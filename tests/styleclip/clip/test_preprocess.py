"""The on-device preprocessing against PIL's, in levels of 255."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reference import arrays

from styleclip.clip.preprocess import preprocess, resize_matrix

MEAN, STD = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)


# What the module's docstring promises.
MEAN_LEVELS, LARGEST_LEVELS = 0.35, 1.2


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
    assert difference.mean() < MEAN_LEVELS and difference.max() < LARGEST_LEVELS


def picture(kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Noise has an edge at every pixel: there the kernel overshoots most."""
    random = np.random.default_rng(shape)
    if kind == "noise":
        return random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    coarse = random.integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize("kind", ["natural", "noise"])
@pytest.mark.parametrize(("mode", "interpolation"), [("shortest", "bicubic"), ("squash", "bilinear")])
@pytest.mark.parametrize(
    "shape",
    [(50, 80), (300, 200), (224, 224), (64, 64), (300, 1000), (37, 91), (70, 37), (224, 300), (448, 224)],
)
def test_agrees_with_open_clips_own_transform(shape, kind, mode, interpolation):
    pixels = picture(kind, shape)
    transform = open_clip.image_transform(224, is_train=False, resize_mode=mode, interpolation=interpolation)
    theirs = transform(Image.fromarray(pixels))
    ours = preprocess(as_input(pixels), 224, MEAN, STD, mode, interpolation)[0]
    difference = (levels(ours) - levels(theirs)).abs()
    assert difference.mean() < MEAN_LEVELS and difference.max() < LARGEST_LEVELS
    if shape == (224, 224):
        assert difference.max() < 1e-3


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 90), tallness=st.floats(0.05, 1.8), size=st.integers(1, 48))
def test_any_shape_ends_where_open_clip_puts_it(width, tallness, size):
    pixels = picture("noise", (max(1, int(width * tallness)), width))
    theirs = open_clip.image_transform(size, is_train=False)(Image.fromarray(pixels))
    ours = preprocess(as_input(pixels), size, MEAN, STD)[0]
    assert ours.shape == (3, size, size)
    # One level for each rounding, and a rounded column counts for up to 1.5 of itself.
    assert (levels(ours) - levels(theirs)).abs().max() < 1.5


@pytest.mark.parametrize("kind", ["natural", "noise"])
def test_tall_pictures_keep_the_published_order_of_passes(kind):
    """Pillow 13 takes the rows of such a picture first; asked for one pass at a time it has no choice."""
    pixels = picture(kind, (1000, 300))
    columns = Image.fromarray(pixels).resize((224, 1000), Image.Resampling.BICUBIC)
    theirs = open_clip.image_transform(224, is_train=False)(
        columns.resize((224, 746), Image.Resampling.BICUBIC)
    )
    difference = (levels(preprocess(as_input(pixels), 224, MEAN, STD)[0]) - levels(theirs)).abs()
    assert difference.mean() < MEAN_LEVELS and difference.max() < LARGEST_LEVELS


def test_a_picture_out_of_range_is_seen_as_its_file_would_be():
    image = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 1.5
    file = ((image.clamp(-1, 1) + 1) * 127.5).round()[0].permute(1, 2, 0).to(torch.uint8).numpy()
    theirs = open_clip.image_transform(224, is_train=False)(Image.fromarray(file))
    ours = preprocess(image, 224, MEAN, STD)[0]
    assert (levels(ours) - levels(theirs)).abs().max() < 2


def test_equal_sizes_are_left_alone_and_values_are_clamped():
    image = torch.linspace(-1.5, 1.5, 3 * 64).view(1, 3, 8, 8)
    out = preprocess(image, 8, torch.zeros(3), torch.ones(3))
    assert torch.equal(out, (image.clamp(-1, 1) + 1) / 2)


def test_gradients_reach_the_picture():
    image = torch.zeros(1, 3, 16, 20, requires_grad=True)
    preprocess(image, 8, MEAN, STD).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_a_matrix_made_in_inference_mode_can_be_trained_through():
    resize_matrix.cache_clear()
    with torch.inference_mode():
        preprocess(torch.zeros(1, 3, 11, 11), 8, MEAN, STD)
    image = torch.zeros(1, 3, 11, 11, requires_grad=True)
    preprocess(image, 8, MEAN, STD).sum().backward()
    assert image.grad is not None


@pytest.mark.parametrize(("size_in", "size_out"), [(64, 224), (1024, 224), (7, 3), (5, 5)])
def test_rows_of_the_resize_matrix_sum_to_one(size_in, size_out):
    matrix = resize_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size_out))
