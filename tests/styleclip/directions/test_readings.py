"""The aim of an edit: what readings of two kinds of pictures, or of one, say about pictures of the target."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleclip.directions.readings import RARE, aim_of, sample_readings
from styleclip.errors import EditError

UP = torch.tensor([1.0, 0.0])


def readings(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([values, torch.zeros_like(values)], dim=1)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.08, 0.9), gap=st.floats(0.2, 0.8), seed=st.integers(0, 99))
def test_the_aim_lies_among_the_pictures_that_show_the_target(share, gap, seed):
    noise = torch.randn(500, generator=torch.Generator().manual_seed(seed)) * gap / 30
    shows = torch.arange(500) < round(share * 500)
    aim = aim_of(readings(noise + shows * gap), UP)
    assert gap * 0.8 < aim.value < gap * 1.1
    assert aim.shown == pytest.approx(share, abs=0.01)
    assert not {row for row in aim.rows if shows[row]}


def test_of_three_groups_the_uppermost_shows_the_target():
    """Dark glasses look a little like glasses: they are not the aim of 'glasses'."""
    noise = torch.randn(600, generator=torch.Generator().manual_seed(0)) * 0.01
    groups = torch.tensor([0.0, 0.15, 0.3]).repeat_interleave(torch.tensor([300, 150, 150]))
    aim = aim_of(readings(noise + groups), UP)
    assert aim.shown == pytest.approx(0.25, abs=0.01) and aim.value == pytest.approx(0.3, abs=0.02)


def test_without_groups_the_aim_is_what_few_pictures_reach():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    aim = aim_of(readings(values), UP)
    assert aim.value == pytest.approx(float(values.quantile(RARE)), abs=0.1)


def test_pictures_that_all_read_the_same_have_no_aim():
    with pytest.raises(EditError, match="no difference"):
        aim_of(readings(torch.ones(50)), UP)


def test_readings_are_the_same_at_every_call(tiny):
    from styleclip.bundles.load import load_bundle

    models = load_bundle(tiny, device="cpu")
    taken = [
        sample_readings(models.generator, models.clip, models.truncation_psi, count) for count in (7, 10)
    ]
    assert torch.equal(taken[0], taken[1][:7])
    assert taken[0].norm(dim=1) == pytest.approx(1, abs=1e-3)
