"""Prompt ensembles: what templates and prompts may hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import write_bundle
from torch.nn import functional as F

from styleclip.clip import ClipModel, load_clip
from styleclip.directions import embed_prompt, text_direction
from styleclip.errors import PromptError


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> ClipModel:
    return load_clip(checkpoint=write_bundle(tmp_path_factory.mktemp("text")).parent / "clip.safetensors")


class Recorder:
    """Remembers the prompts that it is given."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def encode_text(self, prompts):
        self.prompts += prompts
        return torch.ones(len(prompts), 2)


@settings(deadline=None)
@given(prompt=st.text(min_size=1, max_size=12))
def test_the_prompt_stands_where_the_template_says_and_nothing_else_is_touched(prompt):
    seen = Recorder()
    embed_prompt(seen, prompt, ["{}", "a {} of {x}", "{} and {}"])
    assert seen.prompts == [prompt, "a " + prompt + " of {x}", prompt + " and " + prompt]


def test_every_template_counts_the_same(clip):
    templates = ["{}", "a picture of {}"]
    one, two = F.normalize(clip.encode_text(["red hair", "a picture of red hair"]), dim=1)
    torch.testing.assert_close(
        embed_prompt(clip, "red hair", templates), F.normalize(one + two, dim=0), atol=1e-6, rtol=1e-5
    )


def test_a_direction_is_unit_and_turns_round_with_its_words(clip):
    there = text_direction(clip, "red hair", "a face", ["{}"])
    back = text_direction(clip, "a face", "red hair", ["{}"])
    assert there.norm().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(there, -back)


def test_a_template_that_makes_a_prompt_too_long_is_refused(clip):
    with pytest.raises(PromptError, match="shorten it"):
        text_direction(clip, "a smiling face", "a face", ["{}", "a picture of a picture of a picture of {}"])
