"""The invert flow on tiny networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import FIVE_POINTS
from PIL import Image
from tiny_bundle import SIZE, as_png, picture, write_pictures

from flows.forms.runs import InvertParams
from flows.invert import invert
from storage import LatentStore, read_metrics
from storage.errors import PlanMismatch, StorageError
from styleclip.errors import AlignmentError

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_codes_rows_and_reconstructions(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 7)
    (folder / "z-empty.png").write_bytes(b"")
    run = tmp_path / "run"
    params = InvertParams(
        bundle=tiny, device="cpu", images=str(folder), output=str(run), shard_size=3, max_failed_fraction=0.2,
        save_reconstruction=True,
    )  # fmt: skip
    summary = invert(params)
    assert (summary.ok, summary.failed, summary.reasons) == (7, 1, "1 Empty")
    store = LatentStore.open(summary.latents)
    assert store.ok.tolist() == [True] * 7 + [False]
    codes = store.read(["p000", "p006"])
    assert codes.shape == (2, 6, 8) and np.abs(codes).sum() > 0
    with pytest.raises(StorageError, match="was not inverted"):
        store.read([store.ids[-1]])
    assert len(list(run.glob("images/reconstruction/*.png"))) == 7
    rows = read_metrics(str(run))
    assert set(rows["flow"]) == {"invert"} and rows["identity_source_reconstruction"].notna().sum() == 7

    # a shard that is lost comes back with the same codes
    before = store.read()
    next(run.glob("metrics/**/shard-00001.parquet")).unlink()
    invert(params)
    assert np.array_equal(LatentStore.open(summary.latents).read(), before)
    with pytest.raises(PlanMismatch):
        invert(params.model_copy(update={"save_reconstruction": False}))


def params(tiny, folder, run, **changes) -> InvertParams:
    return InvertParams(
        bundle=tiny, device="cpu", images=str(folder), output=str(run), shard_size=3, **changes
    )


def test_refinement_comes_nearer_and_the_batch_does_not_matter(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 4)
    codes, distances = {}, {}
    for name, changes in {
        "encoder": {}, "refined": {"refine_steps": 10}, "one by one": {"refine_steps": 10, "batch": 1},
    }.items():  # fmt: skip
        summary = invert(params(tiny, folder, tmp_path / name, **changes))
        codes[name] = LatentStore.open(summary.latents).read()
        rows = read_metrics(str(tmp_path / name)).sort_values("image_id")
        distances[name] = rows["distance_source_reconstruction"].to_numpy()
        assert rows["steps"].isna().all() if name == "encoder" else (rows["steps"] == 10).all()
    assert (distances["refined"] < distances["encoder"]).all()
    assert np.abs(codes["refined"] - codes["one by one"]).max() < 1e-4
    with pytest.raises(PlanMismatch, match="refine_steps was 10, is 11"):
        invert(params(tiny, folder, tmp_path / "refined", refine_steps=11))


def test_photographs_are_aligned_by_their_landmarks(tiny, tmp_path):
    """The same faces, once as aligned squares and once turned in larger photographs, get nearly the same codes."""
    squares, photos = tmp_path / "squares", tmp_path / "photos"
    squares.mkdir()
    photos.mkdir()
    table = {}
    for number in range(3):
        square = picture(number, 4 * SIZE)
        (squares / f"p{number}.png").write_bytes(as_png(square))
        canvas = Image.new("RGB", (200, 150), (90, 120, 60))
        canvas.paste(Image.fromarray(square).rotate(180), (70, 50))
        canvas.save(photos / f"p{number}.png")
        table[f"p{number}.png"] = ((1 - FIVE_POINTS) * 4 * SIZE + [70, 50] - 0.5).tolist()
    (photos / "q-without.png").write_bytes(as_png(picture(9)))
    (photos / "landmarks.json").write_text(json.dumps(table))
    straight = invert(params(tiny, squares, tmp_path / "a"))
    turned = invert(params(tiny, photos, tmp_path / "b", align="landmarks", max_failed_fraction=0.3))
    assert (turned.ok, turned.failed, turned.reasons) == (3, 1, "1 NoLandmarks")
    ids = ["p0", "p1", "p2"]
    wanted, found = (LatentStore.open(run.latents).read(ids) for run in (straight, turned))
    spread = wanted.std(axis=0).mean()
    assert np.abs(found - wanted).mean() < 0.25 * spread
    ignored = invert(params(tiny, photos, tmp_path / "c"))
    assert np.abs(LatentStore.open(ignored.latents).read(ids) - wanted).mean() > 0.5 * spread

    table["p1.png"] = (np.array(table["p1.png"]) + 1).tolist()
    (photos / "landmarks.json").write_text(json.dumps(table))
    before = LatentStore.open(turned.latents).read(ids)
    invert(params(tiny, photos, tmp_path / "b", align="landmarks", max_failed_fraction=0.3))
    after = LatentStore.open(turned.latents).read(ids)
    assert (before != after).any(axis=(1, 2)).tolist() == [False, True, False]


def test_an_alignment_that_cannot_be_done_is_refused_before_anything(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 2)
    for changes, message in (
        ({"align": "detector"}, r"bundle 'tiny' has none that is there .*: name a YuNet file"),
        ({"landmarks": "table.csv"}, "align is 'none': choose align 'landmarks'"),
        ({"landmarks": "table.csv", "align": "detector"}, "align is 'detector': choose align 'landmarks'"),
    ):
        with pytest.raises(AlignmentError, match=message):
            invert(params(tiny, folder, tmp_path / "run", **changes))
    with pytest.raises(StorageError, match=r"none of the 2 images .* has landmarks"):
        invert(params(tiny, folder, tmp_path / "run", align="landmarks"))
    assert not (tmp_path / "run").exists()
