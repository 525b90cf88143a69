"""Conditions on rows: what they mean, what they refuse, and that they never run anything."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.accept import SHORT, Accept
from storage.errors import StorageError
from storage.splits import shares, split_of

ROWS = pa.table(
    {
        "identity_reconstruction_edit": [0.9, 0.7, None, 0.95],
        "clip_gain": [0.2, 0.3, 0.4, None],
        "edit": ["red", "hat", "red", "hat"],
        "steps": pa.array([3, None, 5, 7], pa.int64()),
        "input_has_c2pa": [True, None, False, True],
    }
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", [0, 1, 2, 3]),
        ("identity > 0.8", [0, 3]),
        ("identity > 0.8 and clip_gain > 0.1", [0]),
        ("identity > 0.8 or gain >= 0.4", [0, 2, 3]),
        ("not identity > 0.8", [1, 2]),
        ("0.1 < gain < 0.35", [0, 1]),
        ("edit == 'red'", [0, 2]),
        ("edit in ['hat', 'beard'] and identity != 0.7", [3]),
        ("steps not in [3]", [2, 3]),
        ("gain - identity * 2 < -(1 + 0.5)", [0]),
        ("input_has_c2pa", [0, 3]),
        ("not input_has_c2pa", [1, 2]),
        ("1 < 2", [0, 1, 2, 3]),
        ("1 < 2 and gain > 0.25", [1, 2]),
    ],
)
def test_what_conditions_keep(text, kept):
    assert Accept.parse(text).mask(ROWS).nonzero()[0].tolist() == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("identty > 1", "did you mean 'identity'"),
        ("identity >", "is no condition"),
        ("identity", "says no yes or no"),
        ("__import__('os').system('true') == 0", "is not known"),
        ("(lambda: 1)() == 1", "is not known"),
        ("edit.__class__ == 1", "is not known"),
        ("[x for x in (1,)] == 1", "is not known"),
        ("gain ** 9999999 > 1", "is not known"),
        ("gain > True or (gain := 3)", "says no yes or no"),
        ("gain is None", "is not known"),
        ("gain > 1j", "is not known"),
        ("gain > 0 " * 500, "the limit is 2000"),
        ("gain > 0" + " or gain > 0" * 120, "the limit is 200"),
        ("(" * 300 + "1" + ")" * 300, "is no condition"),
    ],
)
def test_what_is_refused_in_one_line(text, words):
    with pytest.raises(StorageError, match=words) as caught:
        Accept.parse(text)
    assert "\n" not in str(caught.value)


def test_text_and_numbers_do_not_compare():
    with pytest.raises(StorageError, match="compares text with numbers"):
        Accept.parse("edit > 3").mask(ROWS)


@given(st.text(alphabet="identygavlo ()<>=.0123456789'[],+-*/:_", max_size=40))
def test_any_text_is_a_mask_or_one_line(text):
    try:
        accept = Accept.parse(text)
        if set(accept.columns) <= set(ROWS.column_names):
            assert accept.mask(ROWS).shape == (4,)
    except StorageError as error:
        assert str(error).startswith("accept:")


def test_short_names_are_columns():
    assert all(Accept.parse(f"{short} == 0").columns == (column,) for short, column in SHORT.items())


@pytest.mark.parametrize(
    "text", ["train", "train=x", "train=0.5", "train=0.5,train=0.5", "a/b=1", "=1", "t=nan"]
)
def test_splits_that_are_none(text):
    with pytest.raises(StorageError, match="split"):
        shares(text)


def test_an_image_keeps_its_split_and_shares_hold():
    parts = shares("train=0.8, test=0.2")
    splits = [split_of(f"image-{number}", parts) for number in range(2000)]
    assert 0.77 < splits.count("train") / 2000 < 0.83
    assert splits[:5] == [split_of(f"image-{number}", parts) for number in range(5)]
