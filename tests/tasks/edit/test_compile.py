"""Words into shifts of the style vector."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from storage import DirectionStore
from styleclip.errors import BundleError, EditError, PromptError
from styleclip.methods import read_edit
from tasks.edit.compile import compile_edits
from tasks.process.models import bundle, directions, store_of


def words(**changes: object) -> dict[str, object]:
    return {
        "name": "smile",
        "method": "global",
        "neutral": "a face",
        "target": "a smiling face",
        "alpha": 3.0,
        "beta": None,
        "channels": 5,
    } | changes


def test_a_shift_moves_the_wanted_channels_and_the_strongest_by_alpha_sigma(tiny):
    (edit,) = compile_edits(tiny, "cpu", None, [read_edit(words())])
    layout = bundle(tiny, "cpu").generator.layout
    std = directions(store_of(tiny, "cpu", None), tiny, "cpu").std
    assert edit.shift.shape == (layout.total,) and edit.channels_used == 5
    in_sigmas = edit.shift[layout.conv] / std
    assert int((in_sigmas != 0).sum()) == 5
    assert float(in_sigmas.abs().max()) == pytest.approx(3.0, rel=1e-4)
    torgb = torch.ones(layout.total, dtype=torch.bool)
    torgb[layout.conv] = False
    assert not edit.shift[torgb].any()


def test_beta_and_its_count_choose_the_same_channels(tiny):
    (by_count,) = compile_edits(tiny, "cpu", None, [read_edit(words())])
    (by_beta,) = compile_edits(tiny, "cpu", None, [read_edit(words(channels=None, beta=by_count.beta))])
    assert torch.equal(by_count.shift, by_beta.shift)


def test_the_weighted_variant_is_another_direction(tiny):
    (exact,) = compile_edits(tiny, "cpu", None, [read_edit(words())])
    (weighted,) = compile_edits(tiny, "cpu", None, [read_edit(words(method="global-weighted"))])
    assert weighted.channels_used == 5 and not torch.equal(exact.shift, weighted.shift)


def test_words_that_the_clip_never_saw_are_named(tiny):
    (edit,) = compile_edits(tiny, "cpu", None, [read_edit(words(target="a face with a mohawk"))])
    assert edit.wording.unknown_words == ("mohawk",)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"target": "a hat " * 50}, PromptError), ({"channels": None, "beta": 1.0}, EditError)],
)
def test_an_impossible_edit_is_named(tiny, change, error):
    with pytest.raises(error, match=r"^edit 'smile': "):
        compile_edits(tiny, "cpu", None, [read_edit(words(**change))])


def test_a_bundle_without_directions_says_how_to_make_them(tiny, tmp_path):
    text = Path(tiny).read_text().replace('directions = {path = "directions.zarr"}', "")
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("generator", "clip", "identity", "encoder"):
        text = text.replace(f'"{name}.safetensors"', f'"{tiny.rsplit("/", 1)[0]}/{name}.safetensors"')
    (folder / "bare.toml").write_text(text)
    with pytest.raises(BundleError, match="styleclip precompute --bundle"):
        store_of(str(folder / "bare.toml"), "cpu", None)


def test_directions_of_another_generator_are_refused(tiny, tmp_path):
    uri = str(tmp_path / "other.zarr")
    store = DirectionStore.create(
        uri, layer_names=["a"], layer=np.zeros(3, int), channel=np.arange(3), dim=4,
        mean=np.zeros(3), std=np.ones(3), attrs={}, block=4,
    )  # fmt: skip
    store.write_block(0, np.ones((3, 4)), np.ones(3), np.ones(3), np.ones((3, 4)))
    store.finalize()
    with pytest.raises(BundleError, match="belong to another generator or CLIP"):
        directions(uri, tiny, "cpu")


def test_files_that_change_are_read_again_and_others_are_not(tiny, tmp_path):
    """As in a notebook that trains and edits twice."""
    own = tmp_path / "own"
    shutil.copytree(Path(tiny).parent, own)
    name = str(own / Path(tiny).name)
    (before,) = compile_edits(name, "cpu", None, [read_edit(words())])
    (again,) = compile_edits(name, "cpu", None, [read_edit(dict(sorted(words().items())))])
    assert again is before
    shutil.move(own / "directions.zarr", own / "old.zarr")
    other = DirectionStore.open(str(own / "old.zarr"))._array("directions")
    other[:] = np.roll(other[:], 1, axis=0)
    shutil.copytree(own / "old.zarr", own / "directions.zarr")
    (after,) = compile_edits(name, "cpu", None, [read_edit(words())])
    assert after.fingerprint != before.fingerprint
