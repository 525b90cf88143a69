"""verify: damage of every kind of file is named, done again, and gone; what is sound is not touched."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny_bundle import write_pictures

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams, FreeParams, InvertParams, PrecomputeParams
from flows.free_generation import free_generation
from flows.invert import invert
from flows.precompute import precompute
from flows.verify import VerifyParams, verify
from storage.calls import read_call
from storage.tracing import trace

SPECS = [
    edit_form(name="red", target="a face with red hair", alpha=4, channels=5),
    edit_form(name="own", target="a smiling face", method="optimize", steps=2),
]
pytestmark = pytest.mark.usefixtures("prefect_server")


def files(run: Path) -> dict[str, bytes]:
    """Every file but Parquet, whose rows hold times."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.suffix != ".parquet"
    }


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(data))


def damaged(run: Path, repair: bool = False) -> set[str]:
    """Names, below the run, of the files that verification complains of."""
    state = verify(VerifyParams(run=str(run), repair=repair), return_state=True)
    result = state.result(raise_on_failure=False)
    if state.is_completed():
        return set()
    return {str(Path(each.file).relative_to(run)) for each in result.summary.damaged}


@pytest.fixture(scope="module")
def run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    images = write_pictures(folder / "images", 5)
    (images / "broken.png").write_bytes(b"")
    edit(
        EditParams(
            bundle=tiny, device="cpu", images=str(images), output=str(folder / "run"), edits=SPECS, shard_size=2,
            max_failed_fraction=0.5, save_source=True,
        )
    )  # fmt: skip
    return folder / "run"


def test_damage_of_every_kind_is_named_mended_and_gone(run):
    assert damaged(run) == set()
    before, chance = files(run), random.Random(3)
    (curves,) = run.glob("curves/**/shard-00000.parquet")
    (rows,) = run.glob("metrics/**/shard-00001.parquet")
    hurt = [run / "images/red/p000.png", run / "images/source/p003.png", curves, rows]
    for path in hurt:
        flip(path, chance)
    cut, lost = run / "images/reconstruction/p004.png", run / "images/own/p004.png"
    cut.write_bytes(cut.read_bytes()[:60])
    lost.unlink()
    named = {str(path.relative_to(run)) for path in [*hurt, cut, lost]}
    assert damaged(run) == named
    state = verify(VerifyParams(run=str(run), repair=True), return_state=True)
    assert state.is_completed() and damaged(run) == set()
    repaired = {str(Path(each).relative_to(run)) for each in state.result().repaired}
    assert repaired == named and files(run) == before


def test_only_the_damaged_shard_is_done_again(run):
    times = {path: path.stat().st_mtime_ns for path in run.glob("images/red/*.png")}
    (run / "images/red/p000.png").unlink()
    assert damaged(run, repair=True) == set()
    again = {path.name for path in times if path.stat().st_mtime_ns != times[path]}
    assert "p000.png" in again and len(again) <= 2


def test_a_shard_whose_input_is_gone_is_left_alone(run):
    source, picture = run.parent / "images" / "p003.png", run / "images/red/p003.png"
    content = source.read_bytes()
    source.unlink()
    picture.write_bytes(b"no picture")
    state = verify(VerifyParams(run=str(run), repair=True), return_state=True)
    assert state.is_failed()
    assert any(
        "gone or changed" in each.what for each in state.result(raise_on_failure=False).summary.damaged
    )
    source.write_bytes(content)
    assert damaged(run, repair=True) == set()


def test_a_truncated_picture_ends_no_later_run(run):
    cut = run / "images/red/p000.png"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    again = edit(EditParams(**read_call(str(run), "edit"), edits=SPECS, max_failed_fraction=0.5))
    assert again.shards_done_before == again.shards
    cut.write_bytes(whole)


def test_a_renamed_copy_is_traced_to_its_row(run, tmp_path):
    copy = tmp_path / "found somewhere.png"
    copy.write_bytes((run / "images/own/p002.png").read_bytes())
    found = trace(str(copy), [str(run)])
    (origin,) = found.origins
    assert (origin.role, origin.row["image_id"], origin.row["edit"]) == ("output", "p002", "own")
    assert origin.row["target"] == "a smiling face" and '"a smiling face" (method optimize' in found.says
    (source,) = trace(str(run / "images/source/p002.png"), [str(run)]).origins
    assert source.role == "source"
    assert {each.role for each in trace(str(run.parent / "images/p002.png"), [str(run)]).origins} == {"input"}
    (tmp_path / "other.png").write_bytes(b"other")
    assert trace(str(tmp_path / "other.png"), [str(run)]).origins == ()


def test_codes_and_their_marks_are_verified_and_made_again(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 5), tmp_path / "codes"
    invert(InvertParams(bundle=tiny, device="cpu", images=str(images), output=str(run), shard_size=2))
    before, store = files(run), run / "latents.zarr"
    hurt = [store / "w/c/1/0/0", store / "done/c/2"]
    for path in hurt:
        flip(path, random.Random(1))
    assert damaged(run) == {str(path.relative_to(run)) for path in hurt}
    assert damaged(run, repair=True) == set() and files(run) == before


def test_free_pictures_are_made_again(tiny, tmp_path):
    run = tmp_path / "free"
    params = FreeParams(bundle=tiny, device="cpu", output=str(run), targets=["a smiling face"], steps=2)
    free_generation(params)
    before = files(run)
    assert b"trainedAlgorithmicMedia" in before["images/a-smiling-face.png"]
    flip(run / "images/a-smiling-face.png", random.Random(0))
    assert damaged(run) == {"images/a-smiling-face.png"}
    assert damaged(run, repair=True) == set() and files(run) == before


def test_precompute_and_repair_compute_the_damaged_block(tiny, tmp_path):
    store = tmp_path / "d.zarr"
    params = PrecomputeParams(
        bundle=tiny, device="cpu", output=str(store), images=3, statistics_samples=50, block=16
    )
    precompute(params)
    before = files(store)
    for name in ("sum/c/1/0", "style_std/c/2"):
        flip(store / name, random.Random(2))
    assert damaged(store) == {"sum/c/1/0", "style_std/c/2"}
    summary = precompute(params)
    assert summary.blocks_done_before == 2 and len(summary.damaged_files) == 2
    assert files(store) == before
    (store / "magnitude/c/0/0").unlink()
    assert damaged(store) == {"magnitude/c/0/0"}
    assert damaged(store, repair=True) == set() and files(store) == before


def test_what_is_no_run_is_one_line(tmp_path):
    state = verify(VerifyParams(run=str(tmp_path)), return_state=True)
    assert state.is_failed() and "neither the output folder of" in state.message
