"""Strengths matched on curves whose answer is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleclip.match_strength import match_strength


@given(st.floats(0.05, 0.95), st.floats(0.5, 20), st.floats(0.2, 4))
def test_a_rising_curve_is_met_where_it_is_wanted(wanted: float, limit: float, power: float):
    found = match_strength(lambda a: (a / limit) ** power, wanted, limit, tolerance=0.02, halvings=30)
    assert found.matched
    assert 0 < found.strength <= limit
    assert wanted - 0.02 <= found.reached <= wanted + 0.02
    assert found.reached == (found.strength / limit) ** power


def test_a_curve_that_turns_back_before_the_wanted_value_is_not_matched():
    found = match_strength(lambda a: math.sin(a), wanted=1.5, limit=4)
    assert not found.matched
    assert (found.strength, found.reached) == (2, math.sin(2))


def test_no_number_is_not_enough():
    found = match_strength(lambda a: math.nan if a < 3 else a / 4, wanted=0.5, limit=4, halvings=20)
    assert found.matched
    assert 3 <= found.strength <= 3.01


def test_a_curve_that_levels_off_just_below_is_close_enough():
    found = match_strength(lambda a: min(a, 0.995), wanted=1.0, limit=3)
    assert found.matched and found.reached == 0.995


def test_few_measurements_are_enough():
    asked: list[float] = []
    match_strength(lambda a: asked.append(a) or a / 4, wanted=0.5, limit=4)
    assert len(asked) <= 12
    assert len(set(asked)) == len(asked)


def test_a_limit_must_be_a_strength():
    with pytest.raises(ValueError, match="limit"):
        match_strength(lambda a: a, 1, 0)
