"""The embedded world: factors, pictures, statements and captions agree with each other."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avatars.world.attributes import COLUMN, QUANTITIES, STATEMENT, STATEMENTS, holds, truth, visible
from avatars.world.captions import every_word, prompt, write_caption
from avatars.world.factors import CORRELATIONS, INDEX, NAMES, Z_DIM, causes, factors_of, parameters
from avatars.world.latents import sample_latents, sample_twins
from avatars.world.renderer import render
from avatars.world.samples import sample_pictures, write_images
from styleclip.clip import CompactTokenizer


def average(**changes: float) -> torch.Tensor:
    """An unremarkable avatar: u [1, F], with some factors set."""
    u = torch.full((1, len(NAMES)), -1.0)
    u[0, INDEX["hair_brown"]] = u[0, INDEX["background_cream"]] = 2.0
    for name, value in changes.items():
        u[0, INDEX[name]] = value
    return u


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not name.startswith(("hair_b", "hair_r", "hair_g", "background"))]
)
def test_every_factor_can_be_seen(name):
    low, high = (render(average(**{name: value})) for value in (-2.0, 2.0))
    assert ((low - high).abs().amax(dim=1) > 0.2).float().mean() > 0.002


@pytest.mark.parametrize("size", [64, 128])
def test_pictures_are_in_range_at_any_size(size):
    image = render(average(), size)
    assert image.shape == (1, 3, size, size) and image.min() >= -1 and image.max() <= 1


def test_a_picture_does_not_depend_on_its_batch():
    u = factors_of(torch.randn(5, Z_DIM, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(render(u)[2:3], render(u[2:3]), atol=1e-5, rtol=0)


def test_factors_are_correlated_as_declared():
    u = factors_of(torch.randn(20_000, Z_DIM, generator=torch.Generator().manual_seed(2)))
    for dependent, cause, rho in CORRELATIONS:
        pair = u[:, [INDEX[dependent], INDEX[cause]]].T
        assert torch.corrcoef(pair)[0, 1].item() == pytest.approx(rho, abs=0.05)
        assert INDEX[cause] in causes(dependent)
    assert u.std(dim=0).sub(1).abs().max() < 0.05


def test_twins_differ_in_one_factor():
    z = sample_twins(200, torch.Generator().manual_seed(3))
    differs = (z[0::2] != z[1::2]).sum(dim=1)
    assert (differs == 1).all() and torch.equal(z[0::2].abs(), z[1::2].abs())


def test_widened_latents_reach_further():
    plain, wide = (sample_latents(4000, torch.Generator().manual_seed(4), share) for share in (0.0, 1.0))
    assert wide.abs().quantile(0.999) > 1.3 * plain.abs().quantile(0.999)


def test_quantities_are_shares_and_hidden_ones_are_known():
    quantities = truth(parameters(torch.cat([average(), average(sunglasses=2.0), average(bald=3.0)])))
    assert quantities.shape == (3, len(QUANTITIES)) and quantities.min() >= 0 and quantities.max() <= 1
    seen = visible(quantities)
    assert seen[0].all()
    assert seen[1, COLUMN["blue_eyes"]] == 0 and seen[2, COLUMN["hair_red"]] == 0


@pytest.mark.parametrize(
    ("factor", "value", "statement"),
    [
        ("smile", 2.0, "smile"),
        ("smile", -2.0, "frown"),
        ("hair_length", 1.5, "long hair"),
        ("glasses", 2.0, "glasses"),
        ("hair_red", 4.0, "red hair"),
        ("background_green", 4.0, "green background"),
        ("hat", -2.0, "no hat"),
    ],
)
def test_statements_follow_the_factors(factor, value, statement):
    quantities = truth(parameters(average(**{factor: value})))
    assert bool(STATEMENT[statement].holds(quantities))


def test_of_a_group_one_statement_holds_at_most():
    u = factors_of(torch.randn(2000, Z_DIM, generator=torch.Generator().manual_seed(5)))
    true = holds(truth(parameters(u)))
    for group in {statement.group for statement in STATEMENTS if statement.group}:
        columns = [i for i, statement in enumerate(STATEMENTS) if statement.group == group]
        assert true[:, columns].sum(dim=1).max() <= 1, group


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_captions_say_only_what_is_true_in_known_words(seed, data):
    true = data.draw(st.lists(st.booleans(), min_size=len(STATEMENTS), max_size=len(STATEMENTS)))
    text, said = write_caption(true, random.Random(seed))
    assert all(true[index] for index in said) and len(set(said)) == len(said)
    tokenizer = CompactTokenizer.from_captions(every_word(), 32)
    assert tokenizer.unknown_words(text) == [] and len(tokenizer.encode(text)) <= 30


def test_prompts_read_like_captions():
    assert prompt("red hair") == "a face with red hair"
    assert prompt("no beard") == "a face with no beard"


def test_held_out_files_are_the_held_out_pictures(tmp_path):
    from storage import decode_image

    paths = write_images(tmp_path, 3, seed=7)
    images, _ = sample_pictures(3, seed=7)
    assert [path.name for path in paths] == ["avatar-000.png", "avatar-001.png", "avatar-002.png"]
    read = torch.from_numpy(decode_image(str(paths[1]), 64).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert (read - images[1]).abs().max() < 1 / 127
