"""What CLIP and the generator are shown beside the truth, and that it depends on the step alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from styleclip.optimization import OptimizationSettings
from styleclip.optimization.disturbance import disturb_codes, disturb_pictures
from styleclip.optimization.schedule import ramped_noise


def pictures(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(5)) * 2 - 1


@given(t=st.floats(0, 1, exclude_max=True), peak=st.floats(0, 100))
def test_noise_on_codes_fades_and_is_gone_in_the_last_quarter(t, peak):
    """Karras et al. 2020, appendix D: peak · max(0, 1 − t / 0.75)²."""
    now = ramped_noise(t, peak)
    assert 0 <= now <= peak and ramped_noise(0, peak) == peak
    assert now == 0 if t >= 0.75 else now == pytest.approx(peak * (1 - t / 0.75) ** 2)


def test_nothing_asked_for_nothing_changed():
    settings, images, codes = OptimizationSettings(), pictures(), torch.randn(2, 5)
    assert disturb_pictures(images, 3, settings) is images and disturb_codes(codes, 3, settings) is codes


@given(step=st.integers(0, 299), share=st.sampled_from([0.0, 0.01, 0.07, 0.25, 0.5]))
def test_a_shift_moves_by_at_most_its_share_and_continues_the_edges(step, share):
    images, reach = pictures(), round(share * 16)
    seen = disturb_pictures(images, step, OptimizationSettings(clip_shift=share))
    assert seen.shape == images.shape
    rows, columns = torch.arange(16), torch.arange(16)
    matches = [
        (down, right)
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
        if torch.equal(seen, images[..., (rows + down).clamp(0, 15)[:, None], (columns + right).clamp(0, 15)])
    ]
    assert len(matches) == 1


def test_shifts_go_everywhere():
    settings = OptimizationSettings(clip_shift=0.07)
    seen = {disturb_pictures(pictures(), step, settings)[0, 0].sum().item() for step in range(100)}
    assert len(seen) == 9, "one pixel in every direction, or none"


def test_noise_is_anew_at_every_step_the_same_for_all_images_and_of_its_deviation():
    settings = OptimizationSettings(clip_noise=0.3, latent_noise=2.0, steps=100)
    images, codes = pictures(3, 64), torch.zeros(3, 4000)
    on_pictures = [disturb_pictures(images, step, settings) - images for step in (0, 1)]
    on_codes = [disturb_codes(codes, step, settings) for step in (0, 1)]
    for first, second in (on_pictures, on_codes):
        assert (first[0] - first[2]).abs().max() < 1e-6
        assert abs(torch.corrcoef(torch.stack([first[0].flatten(), second[0].flatten()]))[0, 1]) < 0.05
    assert on_pictures[0].std().item() == pytest.approx(0.3, rel=0.05)
    assert on_codes[0].std().item() == pytest.approx(2.0, rel=0.05)
    assert torch.equal(disturb_codes(codes, 0, settings), on_codes[0])
    both = torch.stack([on_codes[0][0], on_pictures[0][0].flatten()[:4000]])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.05, "codes and pictures are disturbed independently"
