"""Edits as people write them: grids, names, files, and what is said when they are wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.forms.edits import edit_form
from flows.forms.files import first_complaint, read_edits
from flows.forms.grid import expand, slug
from styleclip.errors import EditError
from styleclip.methods import read_edit


def test_a_single_edit_keeps_its_name_and_gets_the_defaults():
    (edit,) = expand([edit_form(target="a face with red hair")], neutral="a face")
    assert edit.to_plan() == {
        "name": "red-hair",
        "method": "global",
        "neutral": "a face",
        "target": "a face with red hair",
        "alpha": "auto",
        "beta": None,
        "channels": "auto",
    }


def test_a_grid_unfolds_into_one_edit_per_combination():
    spec = edit_form(name="Red hair", target="a face with red hair", alpha=[3, 4.5], beta=[0.1, 0.2])
    names = [edit.name for edit in expand([spec], "a face")]
    assert names == ["red-hair_a3_b0.1", "red-hair_a3_b0.2", "red-hair_a4.5_b0.1", "red-hair_a4.5_b0.2"]
    by_count = expand([edit_form(target="a hat", alpha=-2, channels=[10, 40])], "a face")
    assert [(edit.name, edit.channels, edit.beta) for edit in by_count] == [
        ("hat_a-2_c10", 10, None),
        ("hat_a-2_c40", 40, None),
    ]


@given(
    target=st.text(min_size=1, max_size=60),
    alphas=st.lists(st.floats(-20, 20), min_size=1, max_size=4, unique=True),
    counts=st.lists(st.integers(1, 999), min_size=1, max_size=3, unique=True),
)
def test_every_name_is_a_folder_name_and_unique(target, alphas, counts):
    try:
        edits = expand([edit_form(target=target, alpha=alphas, channels=counts)], "a face")
    except EditError as error:  # two strengths that print alike
        assert "two edits are called" in str(error)
        return
    assert len(edits) == len(alphas) * len(counts)
    for edit in edits:
        assert edit.name and "/" not in edit.name and edit.name == slug(edit.name)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"target": "a hat", "beta": 0.1, "channels": 3}, "not both"),
        ({"target": "a hat", "beta": 1.5}, "beta: Input should be less than or equal to 1"),
        ({"target": "a hat", "channels": 0}, "channels: Input should be greater than or equal to 1"),
        ({"target": "a hat", "alpha": []}, "empty list"),
        ({"target": ""}, "target"),
        ({"target": "a hat", "strength": 3}, "unknown field 'strength'"),
        ({}, "'target' is missing"),
        ({"target": "a hat", "method": "mapper"}, "'mapper' is missing"),
        ({"target": "a hat", "method": "optimise"}, "did you mean 'optimize'?"),
        ({"target": "a hat", "method": "magic"}, "method"),
    ],
)
def test_wrong_edits_are_refused_in_one_line(fields, complaint):
    with pytest.raises(ValidationError) as caught:
        edit_form(**fields)
    line = first_complaint(caught.value)
    assert complaint in line and "\n" not in line


def test_two_edits_of_one_name_are_refused():
    with pytest.raises(EditError, match="two edits are called 'hat'"):
        expand([edit_form(target="a hat"), edit_form(target="the hat")], "a face")
    with pytest.raises(EditError, match="no edit is given"):
        expand([], "a face")


EDITS = [{"target": "a face with a hat", "alpha": [2, 3]}, {"target": "a smiling face", "alpha": 5}]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (
            ".yaml",
            "defaults: {channels: 7}\nedits:\n"
            "- {target: a face with a hat, alpha: [2, 3]}\n- {target: a smiling face, alpha: 5}\n",
        ),
        (
            ".toml",
            'defaults = {channels = 7}\n[[edits]]\ntarget="a face with a hat"\nalpha=[2, 3]\n'
            '[[edits]]\ntarget="a smiling face"\nalpha=5\n',
        ),
        (".json", json.dumps({"defaults": {"channels": 7}, "edits": EDITS})),
    ],
)
def test_files_in_three_formats_say_the_same(tmp_path, suffix, text):
    path = tmp_path / f"edits{suffix}"
    path.write_text(text)
    assert [edit.name for edit in expand(read_edits(path), "a face")] == [
        "hat_a2_c7",
        "hat_a3_c7",
        "smiling",
    ]


def test_a_plain_list_is_a_file_too(tmp_path):
    path = tmp_path / "edits.yml"
    path.write_text("- target: a hat\n")
    assert read_edits(path) == [edit_form(target="a hat")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("edits: [{target: a hat, alfa: 3}]", "edit 1: unknown field 'alfa'; did you mean 'alpha'?"),
        ("edits: [a hat]", "edit 1: expected a mapping"),
        ("targets: []", "expected a list of edits"),
        ("edits: []\nmore: 1", "unknown key 'more'"),
        ("edits: [", "edits.yaml: while parsing"),
        ("edits: [{target: a hat}]\ndefaults: [3]", "'defaults' must be a mapping"),
        ("edits: [{3: a hat}]", "edit 1:"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path, text, complaint):
    path = tmp_path / "edits.yaml"
    path.write_text(text)
    with pytest.raises(EditError) as caught:
        read_edits(path)
    assert complaint in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(EditError, match="cannot be read"):
        read_edits(tmp_path / "none.yaml")


def test_what_a_run_form_sends_is_accepted():
    """Prefect's form sends every default beside what was typed: none of them contradicts another."""
    for sent in (
        {"target": "a hat"},
        {"method": "optimize", "target": "a hat"},
        {"method": "mapper", "mapper": "beard"},
    ):
        form = edit_form(**sent)
        (edit,) = expand([edit_form(**form.model_dump())], "a face")
        assert edit == expand([form], "a face")[0]
    (by_beta,) = expand([edit_form(**edit_form(target="a hat").model_dump() | {"beta": 0.1})], "a face")
    assert (by_beta.beta, by_beta.channels) == (0.1, None)


def test_a_plan_gives_back_the_edits_that_it_was_made_of():
    forms = [
        edit_form(target="a hat", beta=[0, 0.2]),
        edit_form(method="mapper", mapper="beard"),
        edit_form(method="optimize", target="a hat", space="s", channels=5, lambda_l2=[0.1, 0.2]),
    ]
    edits = expand(forms, "a face")
    assert [read_edit(json.loads(json.dumps(edit.to_plan()))) for edit in edits] == edits
