"""Metrics on cases whose answer is known."""

from __future__ import annotations

import pytest
import torch

from styleclip.metrics import (
    clip_similarity,
    clipped_share,
    directional_similarity,
    identity_similarity,
    pixel_distance,
)


def test_similarities_of_known_vectors():
    image = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert clip_similarity(image, torch.tensor([[1.0, 0.0]])).tolist() == [1, 0]
    assert identity_similarity(image, -image).tolist() == [-1, -1]


def test_a_step_along_the_words_scores_one_and_no_step_scores_zero():
    before = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    after = torch.tensor([[0.0, 1.0], [5.0, 0.0]])
    dt = torch.tensor([-1.0, 1.0]) / 2**0.5
    assert directional_similarity(before, after, dt).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_distance_is_in_units_of_the_range():
    black, white = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 1.0)
    assert pixel_distance(black, white).item() == 1
    assert pixel_distance(black, black - 5).item() == 0


def test_clipped_share_counts_values_beyond_the_margin():
    image = torch.tensor([1.2, 1.04, -1.2, 0.0]).view(1, 1, 2, 2)
    assert clipped_share(image).item() == 0.5
