"""A second CLIP that guides nothing: where a bundle names one, its columns are filled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_bundle import SIZE

from styleclip.bundles.load import load_bundle
from styleclip.edits import Edit
from styleclip.methods.measures import edit_measures, see
from styleclip.methods.words import embed_words

EDIT = Edit(target="a face with red hair", neutral="a face")


@pytest.fixture(scope="module")
def judged(tiny: str) -> str:
    """The tiny bundle, its own CLIP named a second time as the judge."""
    path = Path(tiny).with_name("judged.toml")
    text = Path(tiny).read_text(encoding="utf-8")
    path.write_text(text + '\njudge_clip = {checkpoint = "clip.safetensors"}\n', encoding="utf-8")
    return str(path)


def measures_of(name: str) -> dict[str, torch.Tensor]:
    models = load_bundle(name, device="cpu")
    torch.manual_seed(3)
    before, after = (see(models, torch.rand(4, 3, SIZE, SIZE) * 2 - 1) for _ in range(2))
    return edit_measures(before, after, embed_words(models, EDIT))


def test_the_judge_measures_what_the_guide_measures_when_they_are_the_same(judged):
    measures = measures_of(judged)
    for ours, theirs in (
        ("judge_clip_before", "clip_before"),
        ("judge_clip_after", "clip_after"),
        ("judge_directional_similarity", "directional_similarity"),
    ):
        torch.testing.assert_close(measures[ours], measures[theirs])


def test_without_a_judge_there_are_no_such_columns(tiny):
    assert not [name for name in measures_of(tiny) if name.startswith("judge")]


def test_the_avatars_judge_agrees_with_their_guide_about_a_beard():
    """Two CLIPs of their own training: they need not agree exactly, but in which direction a picture has moved."""
    from avatars.world.captions import NEUTRAL, prompt
    from avatars.world.samples import sample_pictures
    from styleclip.methods import read_edit
    from styleclip.methods.face import InvertedBatch
    from tasks.edit.compile import compile_edits

    models = load_bundle("avatars", device="cpu")
    words = {"name": "beard", "method": "global", "target": prompt("beard"), "neutral": NEUTRAL}
    edit = compile_edits(
        "avatars", "cpu", None, [read_edit(words | {"alpha": 2.0, "beta": None, "channels": 4})]
    )[0]
    with torch.inference_mode():
        w = models.encoder(sample_pictures(6, seed=11)[0])
        s = models.generator.styles(w)
        seen = see(models, models.generator.synthesize(s))
        after = see(models, edit.apply(models, InvertedBatch(w, s, seen)).images)
        measures = edit_measures(seen, after, edit.wording)
    assert measures["judge_directional_similarity"].mean() > 0.3
    assert (measures["judge_clip_after"] - measures["judge_clip_before"]).mean() > 0.05
