"""Δt and Δs against the published numbers (vectors d), and what holds for any direction."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import arrays, largest_difference
from torch.nn import functional as F

from styleclip.checkpoints import from_nvlabs_state
from styleclip.directions import (
    expand,
    strongest_channels,
    style_direction,
    text_direction,
    weighted_style_direction,
)
from styleclip.errors import EditError, PromptError
from styleclip.networks import StyleLayout

C, D = 208, 32


@pytest.fixture(scope="module")
def generator():
    return from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))


@pytest.fixture(scope="module")
def numbers():
    return arrays("c_fs3.npz") | arrays("d_boundary.npz")


def per_layer(numbers, generator, prefix):
    names = [layer.name.replace("_", "_resolution_") for layer in generator.layout.conv_layers]
    return torch.cat([numbers[f"{prefix}_{name}"].float().flatten() for name in names])


def test_step_and_count_agree_with_the_published_code(numbers, generator):
    std = per_layer(numbers, generator, "std")
    for beta in numbers["betas"].tolist():
        found = style_direction(numbers["fs3_float_fresh"], numbers["dt"].float(), beta=beta, std=std)
        assert found.channels_used == int(numbers[f"num_c_{beta}"])
        assert largest_difference(found.delta, per_layer(numbers, generator, f"boundary_{beta}")) < 1e-4


def test_edited_pictures_agree_with_the_published_code(numbers, generator):
    std = per_layer(numbers, generator, "std")
    delta = style_direction(numbers["fs3_float_fresh"], numbers["dt"].float(), beta=0.15, std=std).delta
    shift = expand(generator.layout, delta)
    names = [
        layer.name.replace("torgb", "toRGB").replace("_", "_resolution_") for layer in generator.layout.layers
    ]
    s0 = torch.cat([numbers[f"s0_{name}"] for name in names], dim=1)
    for column, alpha in enumerate(numbers["edit_alphas"].tolist()):
        image = generator.synthesize(s0 + alpha * shift)
        ours = ((image + 1) * 127.5).clamp(0, 255).floor().permute(0, 2, 3, 1)
        difference = (ours - numbers["edit_img_uint8"][:, column].float()).abs()
        assert difference.max() <= 1 and (difference > 0).float().mean() < 1e-3


class TableOfTexts:
    """A text encoder that looks its embeddings up."""

    def __init__(self, table):
        self.table = table

    def encode_text(self, prompts):
        return torch.stack([self.table[prompt] for prompt in prompts])


def test_text_direction_agrees_with_the_published_code(numbers):
    target, neutral = numbers["text_emb"]
    templates = [f"{i}: {{}}" for i in range(len(target))]
    table = {t.format("t"): e for t, e in zip(templates, target, strict=True)}
    table |= {t.format("n"): e for t, e in zip(templates, neutral, strict=True)}
    dt = text_direction(TableOfTexts(table), "t", "n", templates)
    assert largest_difference(dt, numbers["dt_from_text"].float()) < 1e-5
    with pytest.raises(PromptError, match="no direction leads"):
        text_direction(TableOfTexts(table), "n", "n", templates)


def random_directions(seed: int):
    generator = torch.Generator().manual_seed(seed)
    rows = F.normalize(torch.randn(C, D, generator=generator), dim=1)
    return (
        rows,
        F.normalize(torch.randn(D, generator=generator), dim=0),
        torch.rand(C, generator=generator) + 0.1,
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    betas=st.tuples(st.floats(0, 0.2), st.floats(0, 0.2)),
    count=st.integers(1, C),
)
def test_a_larger_beta_moves_no_more_channels(seed, betas, count):
    rows, dt, std = random_directions(seed)
    small, large = (style_direction(rows, dt, beta=beta, std=std) for beta in sorted(betas))
    assert small.channels_used >= large.channels_used
    assert ((large.delta != 0) <= (small.delta != 0)).all()
    chosen = style_direction(rows, dt, channels=count, std=std)
    assert chosen.channels_used == count
    assert (chosen.delta / std).abs().max().item() == pytest.approx(1, abs=1e-5)
    again = style_direction(rows, dt, beta=chosen.beta, std=std)
    assert torch.equal(again.delta, chosen.delta)


def test_raw_form_is_the_projection_itself():
    rows, dt, _ = random_directions(1)
    found = style_direction(rows, dt, beta=0.1, scaled=False)
    moved = found.delta != 0
    assert torch.equal(found.delta[moved], (rows @ dt)[moved])


def test_impossible_thresholds_are_one_clear_line():
    rows, dt, std = random_directions(2)
    with pytest.raises(EditError, match="leaves no channel to move: the most relevant one"):
        style_direction(rows, dt, beta=0.99, std=std)
    with pytest.raises(EditError, match="either beta or channels"):
        style_direction(rows, dt, std=std)
    with pytest.raises(EditError, match="at least one"):
        style_direction(rows, dt, channels=0, std=std)
    with pytest.raises(EditError, match="standard deviation"):
        style_direction(rows, dt, channels=3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.floats(1e-6, 1))
def test_the_usable_beta_that_the_error_names_is_usable(seed, strength):
    rows, dt, std = random_directions(seed)
    with pytest.raises(EditError) as caught:
        style_direction(rows * strength, dt, beta=2.0, std=std)
    usable = float(re.search(r"\|Δi·Δt\| = ([0-9.e-]+),", str(caught.value))[1])
    assert style_direction(rows * strength, dt, beta=usable * (1 - 1e-5), std=std).channels_used >= 1


def test_words_that_no_channel_knows_are_refused():
    _, dt, std = random_directions(5)
    for choice in ({"beta": 0.0}, {"channels": 3}):
        with pytest.raises(EditError, match="is 0 for all"):
            style_direction(torch.zeros(C, D), dt, std=std, **choice)


@pytest.mark.parametrize("dead", [10, C // 2 + 1, C - 1])
def test_weighting_survives_dead_channels(dead):
    rows, dt, std = random_directions(6)
    rows[:dead] = 0
    found = weighted_style_direction(rows, dt, channels=1, std=std)
    assert torch.isfinite(found.delta).all() and found.channels_used == 1
    assert (found.delta[:dead] == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-3, 1e3))
def test_weighting_does_not_care_whether_sums_or_means_come_in(seed, scale):
    rows, dt, std = random_directions(seed)
    one, other = (weighted_style_direction(rows * f, dt, channels=20, std=std) for f in (1, scale))
    torch.testing.assert_close(one.delta, other.delta, atol=1e-4, rtol=1e-3)


def test_weighting_fades_channels_that_hardly_move_pictures():
    rows, dt, std = random_directions(3)
    strength = torch.ones(C)
    strongest = int((rows @ dt).abs().argmax())
    strength[strongest] = 1e-4
    magnitude = rows * strength[:, None]
    assert style_direction(rows, dt, channels=5, std=std).delta[strongest] != 0
    assert weighted_style_direction(magnitude, dt, channels=5, std=std).delta[strongest] == 0


@settings(max_examples=20, deadline=None)
@given(widths=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_expand_puts_steps_at_convolutions_only(widths, seed):
    layout = StyleLayout.from_channels({4 << i: width for i, width in enumerate(widths)})
    delta = torch.rand(layout.conv_count, generator=torch.Generator().manual_seed(seed)) + 1
    full = expand(layout, delta)
    assert torch.equal(full[layout.conv], delta)
    assert int((full != 0).sum()) == layout.conv_count


def test_strongest_channels_name_their_layer(generator):
    rows, dt, _ = random_directions(4)
    found = strongest_channels(rows, dt, generator.layout, 3)
    assert [abs(c.relevance) for c in found] == sorted((abs(c.relevance) for c in found), reverse=True)
    for channel in found:
        position = int(generator.layout.conv[channel.position])
        assert channel.layer.start + channel.channel == position
