"""export: datasets that Hugging Face's `datasets` and `webdataset` open, that resume, and that hold what they say."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image
from tiny_bundle import picture

from flows.export import export
from storage import encode_image, read_metrics, write_shard
from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from tasks.jobs import ExportJob

pytestmark = pytest.mark.usefixtures("prefect_server")
IDS = ["a.dotted.name", "b", "c", "d", "e", "f"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six inputs × two edits in two shards; the last input failed, gains grow from 0 by tenths."""
    folder = tmp_path_factory.mktemp("export")
    for shard in range(2):
        rows = []
        for number in range(3 * shard, 3 * shard + 3):
            id_, path = IDS[number], folder / "photos" / f"{IDS[number]}.png"
            encode_image(picture(number), str(path))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for edit in ("red", "hat"):
                file = f"images/{edit}/{id_}.png"
                row = {
                    "image_id": id_, "path": str(path), "input_hash": digest, "edit": edit, "target": f"a {edit}",
                    "clip_gain": number / 10, "identity_reconstruction_edit": 0.9,
                }  # fmt: skip
                if number == 5:
                    rows.append(row | {"status": "failed", "error_class": "Empty", "reason": "no bytes"})
                    continue
                made = encode_image(picture(100 + number), str(folder / "run" / file))
                rows.append(row | {"status": "ok", "output": file, "output_sha256": made})
        write_shard(str(folder / "run"), "edit", "r", shard, rows)
    return folder / "run"


def job(run: Path, output: Path, **values: object) -> ExportJob:
    asked = {"accept": "identity > 0.8 and gain >= 0.1", "split": "train=0.5,test=0.5", "pack": 3} | values
    return ExportJob(run=str(run), output=str(output), **asked)


def wanted(run: Path) -> set[tuple[str, str, float]]:
    rows = read_metrics(str(run))
    rows = rows[(rows["status"] == "ok") & (rows["clip_gain"] >= 0.1)]
    return set(zip(rows["image_id"], rows["edit"], rows["clip_gain"], strict=True))


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_hugging_face_opens_pairs(run, tmp_path, kind):
    import datasets

    summary = export(job(run, tmp_path / "set", to=kind))
    assert summary.accepted == 8 and summary.rows == 12 and sum(summary.splits.values()) == 8
    opened = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    rows = [row for split in opened.values() for row in split]
    assert {(row["image_id"], row["edit"], row["clip_gain"]) for row in rows} == wanted(run)
    assert {split: len(opened[split]) for split in opened} == summary.splits
    for row in rows:
        number = IDS.index(row["image_id"])
        assert row["source"].tobytes() == Image.fromarray(picture(number)).tobytes()
        assert row["edited"].tobytes() == Image.fromarray(picture(100 + number)).tobytes()
        assert row["source_kind"] == "input"


def test_webdataset_opens_pairs(run, tmp_path):
    import webdataset

    summary = export(job(run, tmp_path / "set", to="webdataset"))
    tars = sorted(map(str, (tmp_path / "set").glob("*/*.tar")))
    assert len(tars) == summary.packs
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    told = [json.loads(sample["json"]) for sample in samples]
    assert {(row["image_id"], row["edit"], row["clip_gain"]) for row in told} == wanted(run)
    for sample, row in zip(samples, told, strict=True):
        with Image.open(io.BytesIO(sample["edited.png"])) as edited:
            assert edited.size == (24, 24)
        assert sample["source.png"] == (run.parent / "photos" / f"{row['image_id']}.png").read_bytes()
    stats = [json.loads(path.read_text()) for path in (tmp_path / "set").glob("*/*_stats.json")]
    assert sum(each["count"] for each in stats) == 8


@pytest.mark.parametrize("kind", ["imagefolder", "parquet", "webdataset"])
def test_a_lost_pack_alone_is_written_again_with_the_same_bytes(run, tmp_path, kind):
    out = tmp_path / "set"
    first = export(job(run, out, to=kind))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    commits = {
        "imagefolder": "train/*/metadata.parquet",
        "parquet": "data/train-*",
        "webdataset": "train/*.tar",
    }
    lost = sorted(out.glob(commits[kind]))[0]
    lost.unlink()
    again = export(job(run, out, to=kind))
    assert again.packs_done_before == first.packs - 1
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_card_says_what_it_is(run, tmp_path):
    out = tmp_path / "set"
    export(job(run, out, to="parquet", license="cc-by-4.0"))
    head, body = (out / "README.md").read_text().split("---\n")[1:3]
    card = yaml.safe_load(head)
    assert card["license"] == "cc-by-4.0" and card["size_categories"] == ["n<1K"]
    for split in card["configs"][0]["data_files"]:
        assert list(out.glob(split["path"]))
    assert "`identity > 0.8 and gain >= 0.1`" in body and "8 of 12 rows" in body
    croissant = json.loads((out / "croissant.json").read_text())
    assert croissant["@type"] == "sc:Dataset" and croissant["conformsTo"].endswith("croissant/1.1")
    known = {each["@id"] for each in croissant["distribution"]}
    for file_set in croissant["distribution"]:
        assert list(out.glob(file_set["includes"]))
    for field in croissant["recordSet"][0]["field"]:
        sources = field["source"] if isinstance(field["source"], list) else [field["source"]]
        assert {source["fileSet"]["@id"] for source in sources} <= known
    assert not list(out.glob(".packs/*.parquet"))


def test_another_export_is_kept_out_and_nothing_left_is_one_line(run, tmp_path):
    export(job(run, tmp_path / "set"))
    with pytest.raises(PlanMismatch, match="accept was"):
        export(job(run, tmp_path / "set", accept=""))
    with pytest.raises(StorageError, match="none of the 12 rows"):
        export(job(run, tmp_path / "other", accept="gain > 5"))


def test_damaged_pictures_and_changed_inputs_are_not_exported(run, tmp_path):
    broken = run / "images/hat/c.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1])
    with pytest.raises(StoreCorrupt, match=r"hat/c\.png is not what was written"):
        export(job(run, tmp_path / "set"))
    broken.write_bytes(whole)
    assert export(job(run, tmp_path / "set")).accepted == 8
    source = run.parent / "photos" / "b.png"
    content = source.read_bytes()
    source.write_bytes(b"other")
    with pytest.raises(StoreCorrupt, match="gone or changed"):
        export(job(run, tmp_path / "third", source="input"))
    source.write_bytes(content)
