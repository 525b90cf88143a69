"""Images that a bundle cannot invert are told from its own kind; the avatars stand for any bundle."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import as_png, picture

from avatars.world.samples import write_images
from storage import write_shard
from tasks.inputs.fit import DISTANCE, IDENTITY, Figures, check_fit, figures_of, own_figures
from tasks.invert import invert_shard, plan_inversion
from tasks.jobs import InvertJob
from tasks.process.models import bundle


def inverted(images, output) -> str:
    job = InvertJob(bundle="avatars", device="cpu", images=str(images), output=str(output))
    for shard in plan_inversion.fn(job).missing:
        invert_shard(job, shard)
    return str(output)


def test_avatars_fit_their_bundle_and_other_pictures_do_not(tmp_path):
    write_images(str(tmp_path / "avatars"), 6, seed=11)
    assert check_fit.fn(inverted(tmp_path / "avatars", tmp_path / "good"), "avatars", "cpu") is None
    (tmp_path / "others").mkdir()
    for seed in range(6):
        (tmp_path / "others" / f"{seed}.png").write_bytes(as_png(picture(seed, 128)))
    words = check_fit.fn(inverted(tmp_path / "others", tmp_path / "bad"), "avatars", "cpu")
    assert words is not None and "do not look like what the bundle 'avatars' knows" in words
    assert "reconstructions differ by" in words and "identity is" in words and "\n" not in words


def test_own_figures_are_the_same_at_every_call():
    own = own_figures(bundle("avatars", "cpu"))
    own_figures.cache_clear()
    again = own_figures(bundle("avatars", "cpu"))
    assert np.array_equal(own.distances, again.distances) and own.misfit(own) is None


@pytest.mark.parametrize(
    ("distance", "identity", "wrong"),
    [(0.05, 0.8, ""), (0.5, 0.8, "differ"), (0.05, 0.1, "identity"), (0.5, 0.1, "and identity")],
)
def test_either_measure_alone_warns(distance, identity, wrong):
    own = Figures(np.linspace(0.02, 0.08, 32), np.linspace(0.6, 0.95, 32))
    words = Figures(np.full(9, distance), np.full(9, identity)).misfit(own)
    assert (wrong in words) if wrong else words is None


def test_few_images_and_codes_say_nothing(tmp_path):
    own = Figures(np.linspace(0.02, 0.08, 32), np.zeros(0))
    assert Figures(np.full(2, 9.0), np.zeros(0)).misfit(own) is None
    row = {"image_id": "a", "path": "", "input_hash": "0", "status": "ok", DISTANCE: 0.5, IDENTITY: None}
    rows = [row | {"edit": edit} for edit in ("x", "y")]
    write_shard(str(tmp_path), "edit", "r", 0, rows)
    assert figures_of(str(tmp_path)).distances.tolist() == [0.5]
