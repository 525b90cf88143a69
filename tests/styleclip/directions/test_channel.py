"""Δi_c against the published numbers (vectors c), and exactness of the two savings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import arrays, largest_difference
from torch import Tensor
from torch.nn import functional as F

from styleclip.checkpoints import from_nvlabs_state
from styleclip.directions import (
    channel_direction_sums,
    passes_of,
    resultant_length,
    style_statistics,
)
from styleclip.networks import Generator
from styleclip.seeds import sample_z


class LinearClip:
    """The stand-in that the reference numbers were made with: e = W · pooled pixels + b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias

    def encode_image(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 2).flatten(1) @ self.weight.T + self.bias


@pytest.fixture(scope="module")
def generator() -> Generator:
    return from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    return arrays("c_fs3.npz")


@pytest.fixture(scope="module")
def clip(reference: dict[str, Tensor]) -> LinearClip:
    return LinearClip(reference["clip_W"], reference["clip_b"])


def theirs(reference: dict[str, Tensor], generator: Generator, prefix: str, conv_only: bool) -> Tensor:
    """Their per-layer arrays in the order of our layout."""
    layers = generator.layout.conv_layers if conv_only else generator.layout.layers
    names = [layer.name.replace("torgb_", "toRGB_resolution_") for layer in layers]
    names = [name if "resolution" in name else name.replace("_", "_resolution_") for name in names]
    return torch.cat([reference[f"{prefix}_{name}"] for name in names], dim=-1)


def sums(generator, clip, reference, **changes):
    std, mean = (theirs(reference, generator, prefix, True) for prefix in ("std", "mean"))
    arguments = {"step": 5.0, "baseline": "mean", "mean": mean} | changes
    channels = arguments.pop("channels", range(208))
    styles = arguments.pop("styles", theirs(reference, generator, "s0", False))
    return channel_direction_sums(generator, clip, styles, channels, std, **arguments)


@pytest.fixture(scope="module")
def whole(generator, clip, reference) -> tuple[Tensor, Tensor, Tensor]:
    """All channels of the first image."""
    return sums(generator, clip, reference, styles=theirs(reference, generator, "s0", False)[:1])


def test_directions_agree_with_the_published_code(generator, clip, reference):
    total, count, _ = sums(generator, clip, reference)
    assert set(count.tolist()) == {6}
    assert largest_difference(F.normalize(total, dim=1), reference["fs3_float_fresh"]) < 1e-3


def test_the_published_statistics_are_those_of_our_styles(generator, reference):
    z = torch.from_numpy(np.random.RandomState(5).randn(2000, 64)).float()
    s = generator.styles(generator.map(z, truncation_psi=0.7, truncation_cutoff=8))[:, generator.layout.conv]
    assert largest_difference(s.mean(dim=0), theirs(reference, generator, "mean", True)) < 1e-4
    assert largest_difference(s.std(dim=0, correction=0), theirs(reference, generator, "std", True)) < 1e-4


@pytest.mark.parametrize("batch", [2, 7, 1000])
def test_batching_changes_nothing(generator, clip, reference, batch):
    whole = sums(generator, clip, reference, channels=range(30, 80))
    other = sums(generator, clip, reference, channels=range(30, 80), over=passes_of(batch))
    for ours, same in zip(whole, other, strict=True):
        assert largest_difference(ours.float(), same.float()) < 2e-4


@settings(max_examples=10, deadline=None)
@given(channels=st.lists(st.integers(0, 207), min_size=1, max_size=12), batch=st.integers(1, 9))
def test_any_choice_and_order_of_channels_gives_the_same_rows(
    generator, clip, reference, whole, channels, batch
):
    styles = theirs(reference, generator, "s0", False)[:1]
    for ours, all_rows in zip(
        sums(generator, clip, reference, channels=channels, over=passes_of(batch), styles=styles),
        whole,
        strict=True,
    ):
        assert largest_difference(ours.float(), all_rows[channels].float()) < 1e-4


def test_magnitudes_are_the_published_embeddings_differences(generator, clip, reference):
    total, count, magnitude = sums(generator, clip, reference)
    low, high = F.normalize(reference["emb_float_fresh"], dim=-1).unbind(2)
    difference = high - low
    assert largest_difference(magnitude, difference.sum(dim=1)) < 1e-4
    agreement = F.normalize(difference, dim=-1).mean(dim=1).norm(dim=1)
    assert largest_difference(resultant_length(total, count), agreement) < 1e-4


def test_sums_of_parts_add_up(generator, clip, reference):
    styles = theirs(reference, generator, "s0", False)
    whole, count, _ = sums(generator, clip, reference, channels=range(40))
    first, n, _ = sums(generator, clip, reference, channels=range(40), styles=styles[:2])
    second, m, _ = sums(generator, clip, reference, channels=range(40), styles=styles[2:])
    assert largest_difference(first + second, whole) < 1e-4
    assert torch.equal(n + m, count)


def test_prefix_reuse_is_exact(generator, clip, reference):
    """Against full passes, each perturbation drawn from the constant on."""
    styles, std = theirs(reference, generator, "s0", False), theirs(reference, generator, "std", True)
    for position in (0, 40, 100, 150, 207):
        column = int(generator.layout.conv[position])
        embeddings = []
        for sign in (-1, 1):
            moved = styles.clone()
            moved[:, column] += sign * 5 * std[position]
            embeddings.append(F.normalize(clip.encode_image(generator.synthesize(moved)), dim=1))
        full = F.normalize(embeddings[1] - embeddings[0], dim=1).sum(dim=0)
        ours, _, _ = sums(generator, clip, reference, channels=[position], baseline="sample", mean=None)
        assert largest_difference(ours[0], full) < 4e-5


def test_baselines_differ_and_reliability_is_a_share(generator, clip, reference):
    sample, count, magnitude = sums(generator, clip, reference, baseline="sample")
    mean, _, _ = sums(generator, clip, reference)
    assert largest_difference(sample, mean) > 1e-2
    reliability = resultant_length(sample, count)
    assert float(reliability.min()) >= 0 and float(reliability.max()) <= 1 + 1e-6
    assert (magnitude.norm(dim=1) <= 2 * count).all()


@pytest.mark.parametrize("batch", [7, 100, 1000])
def test_statistics_do_not_depend_on_the_batch(generator, batch):
    mean, std = style_statistics(generator, 300, seed=3, truncation_psi=0.7, batch=batch)
    z = sample_z(3, [f"statistics/{i}" for i in range(300)], 64)
    s = generator.styles(generator.map(z, truncation_psi=0.7)).numpy()
    np.testing.assert_allclose(mean, s.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std, s.std(axis=0), atol=1e-5)
