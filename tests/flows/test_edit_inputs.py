"""What an edit run may start from: aligned pictures, photographs with landmarks, codes made before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FIVE_POINTS
from PIL import Image
from tiny_bundle import write_pictures
from yunet_files import draw_face, write_yunet

from flows.common.outcome import RunFailed
from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams, InvertParams
from flows.invert import invert
from storage import LatentStore, read_metrics
from storage.errors import PlanMismatch, StorageError
from styleclip.bundles.load import read_bundle
from styleclip.bundles.lock import forget_lock
from styleclip.errors import AlignmentError, BundleError, EditError
from tasks.exchange.latents import import_latents
from tasks.process.models import _bundle

pytestmark = pytest.mark.usefixtures("prefect_server")
RED = [edit_form(name="red", target="a face with red hair", alpha=4, channels=5)]


def params(tiny: str, images: object, run: Path, **changes: object) -> EditParams:
    values: dict[str, object] = {"shard_size": 2, "edits": RED} | changes
    return EditParams(bundle=tiny, device="cpu", images=str(images), output=str(run), **values)


def edited(run: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(run.glob("images/red/*.png"))}


def test_codes_made_before_give_the_same_pictures(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 3)
    (folder / "z-empty.png").write_bytes(b"")
    codes = invert(InvertParams(
        bundle=tiny, device="cpu", images=str(folder), output=str(tmp_path / "codes"), refine_steps=3,
        max_failed_fraction=0.3,
    )).latents  # fmt: skip
    at_once = edit(params(tiny, folder, tmp_path / "a", refine_steps=3, max_failed_fraction=0.3))
    later = edit(params(tiny, codes, tmp_path / "b", max_failed_fraction=0.3))
    assert (at_once.ok, later.ok, later.failed, later.reasons) == (3, 3, 1, "1 NoCode")
    one, other = edited(tmp_path / "a"), edited(tmp_path / "b")
    assert list(one) == list(other) == ["p000", "p001", "p002"]
    for name in one:
        assert np.abs(one[name].astype(int) - other[name].astype(int)).max() <= 1
    rows = read_metrics(str(tmp_path / "b"))
    # nothing is said of sources that were not there
    assert rows["distance_source_reconstruction"].isna().all() and rows["clip_gain"].notna().sum() == 3
    assert edit(params(tiny, codes, tmp_path / "b", max_failed_fraction=0.3)).shards_done_before == 2
    with pytest.raises(RunFailed, match="1 of 4 rows failed"):
        edit(params(tiny, codes, tmp_path / "c"))


def test_imported_codes_need_no_images_and_no_encoder(tiny, tmp_path):
    bare = Path(tiny).with_name("without-encoder.toml")
    bare.write_text(Path(tiny).read_text().replace('encoder = {path = "encoder.safetensors"}\n', ""))
    torch.save(torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0)), tmp_path / "latents.pt")
    store = import_latents(str(bare), "cpu", str(tmp_path / "latents.pt"), None, str(tmp_path / "l.zarr"))[
        "store"
    ]
    assert edit(params(str(bare), store, tmp_path / "run")).ok == 3
    assert list(edited(tmp_path / "run")) == ["000000", "000001", "000002"]

    for changes, error, message in (
        ({"align": "landmarks"}, AlignmentError, "choose align 'none'"),
        ({"refine_steps": 5}, EditError, "refine_steps must be 0"),
        ({"save_source": True}, EditError, "no source to save"),
    ):
        with pytest.raises(error, match=message):
            edit(params(str(bare), store, tmp_path / "refused", **changes))
    foreign = LatentStore.create(str(tmp_path / "f.zarr"), ["a"], 4, 8, {})
    with pytest.raises(StorageError, match="is not finished"):
        edit(params(str(bare), foreign.uri, tmp_path / "refused"))
    foreign.write_shard(0, np.zeros((1, 4, 8)), np.array([True]))
    with pytest.raises(BundleError, match=r"holds codes \[4, 8\] of another generator"):
        edit(params(str(bare), foreign.uri, tmp_path / "refused"))
    assert not (tmp_path / "refused").exists()


def test_photographs_are_aligned_before_they_are_edited(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 2)
    face = FIVE_POINTS * 18 + 2
    for name in ("p000", "p001"):
        (folder / f"{name}.landmarks.json").write_text(json.dumps(face.tolist()))
    run = tmp_path / "run"
    summary = edit(params(tiny, folder, run, align="landmarks", save_source=True))
    assert (summary.ok, summary.failed) == (2, 0)
    plain = edit(params(tiny, folder, tmp_path / "plain", save_source=True))
    assert plain.ok == 2
    there, not_there = (
        np.asarray(Image.open(folder_ / "images/source/p000.png")).astype(int)
        for folder_ in (run, tmp_path / "plain")
    )
    assert np.abs(there - not_there).mean() > 3
    (folder / "p001.landmarks.json").unlink()
    with pytest.raises(PlanMismatch, match="the content of image 'p001' has changed"):
        edit(params(tiny, folder, run, align="landmarks", save_source=True, strict=True))
    with pytest.raises(RunFailed, match="1 NoLandmarks"):
        edit(params(tiny, folder, run, align="landmarks", save_source=True))
    with pytest.raises(PlanMismatch, match="align was landmarks, is none"):
        edit(params(tiny, folder, run, save_source=True))


def test_faces_are_found_by_the_detector_of_the_bundle(tiny, tmp_path):
    """Found faces give the same pictures as landmarks at the same places; without a face the row fails, not the run."""
    bundle = Path(tiny).with_name("with-detector.toml")
    write_yunet(bundle.with_name("yunet.onnx"))
    bundle.write_text(Path(tiny).read_text() + 'detector = {path = "yunet.onnx"}\n')
    (folder := tmp_path / "photos").mkdir()
    table = {}
    for number in range(3):
        points = np.round(FIVE_POINTS * 180 + [15 + 20 * number, 30], 2)
        Image.fromarray(draw_face(np.zeros((240, 260, 3), np.uint8), points, 8)).save(
            folder / f"p{number}.png"
        )
        table[f"p{number}.png"] = points.tolist()
    Image.new("RGB", (240, 200), (9, 9, 9)).save(folder / "q-nobody.png")
    wanted = {"align": "detector", "save_source": True, "max_failed_fraction": 0.3}
    found = edit(params(str(bundle), folder, tmp_path / "found", **wanted))
    assert (found.ok, found.failed, found.reasons) == (3, 1, "1 NoFace")
    rows = read_metrics(str(tmp_path / "found"))
    reason = rows.loc[rows["status"] == "failed", "reason"].item()
    assert "finds no face in this picture of 240×200 pixels" in reason

    (folder / "landmarks.json").write_text(json.dumps(table))
    wanted["align"] = "landmarks"
    given = edit(params(str(bundle), folder, tmp_path / "given", **wanted))
    assert (given.ok, given.failed) == (3, 1)
    for number in range(3):
        there, here = (
            np.asarray(Image.open(tmp_path / run / f"images/source/p{number}.png")).astype(int)
            for run in ("found", "given")
        )
        assert np.abs(there - here).max() <= 2 and here.std() > 15
    codes = invert(
        InvertParams(
            bundle=str(bundle), device="cpu", images=str(folder), output=str(tmp_path / "codes"), align="detector",
            max_failed_fraction=0.3,
        )
    )  # fmt: skip
    assert (codes.ok, codes.reasons) == (3, "1 NoFace")

    write_yunet(bundle.with_name("yunet.onnx"), fixed=True)
    forget_lock(read_bundle(bundle))
    _bundle.cache_clear()  # as in a process of tomorrow
    wanted["align"] = "detector"
    with pytest.raises(PlanMismatch, match="detector was"):
        edit(params(str(bundle), folder, tmp_path / "found", **wanted))
