"""Losses per sample: known values, gradients, and a batch that is only its samples side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.losses import clip_loss, identity_loss, mean_squared_distance, squared_distance


class LinearEye(nn.Module):
    """Embeds a picture by a fixed projection: a stand-in small enough to know the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(6, 3 * 8 * 8, generator=torch.Generator().manual_seed(1))

    def encode_image(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.weight.T

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.encode_image(image), dim=1)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2), requires_grad=True)


def test_clip_loss_is_0_1_and_2_for_the_same_an_orthogonal_and_the_opposite_direction(images):
    eye = LinearEye()
    same = eye(images).detach()
    orthogonal = torch.randn(4, 6)
    orthogonal = F.normalize(orthogonal - (orthogonal * same).sum(1, keepdim=True) * same, dim=1)
    for text, value in ((same, 0.0), (orthogonal, 1.0), (-same, 2.0)):
        torch.testing.assert_close(clip_loss(eye, images, text), torch.full((4,), value), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", ["clip", "identity"])
def test_gradients_of_a_batch_are_those_of_its_samples(images, loss):
    eye, source = LinearEye(), F.normalize(torch.randn(4, 6), dim=1)

    def value(part: Tensor, rows: slice) -> Tensor:
        if loss == "clip":
            return clip_loss(eye, part, source[rows])
        return identity_loss(eye, source[rows], part)

    whole = value(images, slice(0, 4))
    (together,) = torch.autograd.grad(whole.sum(), images)
    for i in range(4):
        alone = images[i : i + 1].detach().requires_grad_()
        one = value(alone, slice(i, i + 1))
        torch.testing.assert_close(one, whole[i : i + 1])
        torch.testing.assert_close(torch.autograd.grad(one.sum(), alone)[0], together[i : i + 1])


def test_one_text_for_all_is_the_same_text_for_each(images):
    eye, text = LinearEye(), F.normalize(torch.randn(6), dim=0)
    torch.testing.assert_close(clip_loss(eye, images, text), clip_loss(eye, images, text.expand(4, -1)))
    with pytest.raises(AssertionError, match="text must be"):
        clip_loss(eye, images, text[:5])


def test_identity_loss_of_the_source_itself_is_0(images):
    eye = LinearEye()
    assert identity_loss(eye, eye(images), images).abs().max() < 1e-6


def test_distances_are_the_sum_and_the_mean():
    w = torch.zeros(2, 3, 4)
    moved = w.clone()
    moved[1] += 2
    assert squared_distance(moved, w).tolist() == [0, 48]
    assert mean_squared_distance(moved, w).tolist() == [0, 4]
