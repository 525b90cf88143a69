"""The train-mappers flow on tiny networks: files, resuming, the mapper method in an edit, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_bundle import SIZE, write_pictures

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.files import read_attributes
from flows.forms.mappers import named
from flows.forms.runs import EditParams, TrainMappersParams
from flows.train_mappers import grouped, train_mappers
from storage import read_metrics, uris
from storage.curves import read_curves
from storage.errors import PlanMismatch, StorageError, StoreCorrupt
from storage.latents import LatentStore
from styleclip.bundles.load import load_bundle
from styleclip.checkpoints.mappers import load_mapper
from styleclip.errors import BundleError, EditError, StyleclipError
from styleclip.methods import read_edit
from tasks.edit.compile import compile_edits
from tasks.jobs import MapperAttribute, MapperJob
from tasks.mappers.analyse import analyse_mappers
from tasks.mappers.codes import codes
from tasks.mappers.state import begun_anew, group_name
from tasks.mappers.train import train

ATTRIBUTES = [
    MapperAttribute(name="red", target="a face with red hair", lambda_l2=0.1),
    MapperAttribute(name="hat", target="a face with a hat", levels=["medium"], relative=1.0),
    MapperAttribute(name="smile", target="a smiling face", space="s"),
]
for_server = pytest.mark.usefixtures("prefect_server")


def params(tiny: str, output: Path, **changes: object) -> TrainMappersParams:
    values: dict[str, object] = {
        "attributes": [spec.model_copy(update={"levels": ["coarse", "medium"]}) if spec.name == "red" else spec
                       for spec in ATTRIBUTES],
        "steps": 6, "batch": 2, "learning_rate": 0.2, "checkpoint_every": 2, "validation": 4, "analysis": 5,
    } | changes  # fmt: skip
    return TrainMappersParams(bundle=tiny, device="cpu", output=str(output), **values)


@pytest.fixture(scope="module")
def whole(tiny: str, prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    run = tmp_path_factory.mktemp("mappers") / "run"
    return run, train_mappers(params(tiny, run))


def test_every_attribute_gets_a_mapper_curves_and_pictures(whole, tiny):
    run, summary = whole
    assert [row.attribute for row in summary.table] == ["red", "hat", "smile"]
    for row in summary.table:
        card = load_mapper(row.mapper)[1]
        assert card.attribute == row.attribute and card.steps == 6
        assert card.generator == load_bundle(tiny, device="cpu").fingerprint["generator"]
        with Image.open(run / "pictures" / f"{row.attribute}.png") as picture:
            assert picture.size == (4 * SIZE, 2 * SIZE)
    assert load_mapper(run / "mappers" / "hat.safetensors")[0].config.levels == ("medium",)
    curves = read_curves(str(run))
    train = curves[curves["split"] == "train"]
    assert train.groupby("attribute")["step"].apply(sorted).to_dict() == {
        name: [1, 2, 3, 4, 5, 6] for name in ("red", "hat", "smile")
    }
    assert set(curves[curves["split"] == "held out"]["step"]) == {2, 4, 6}
    assert train["loss"].notna().all()


def test_the_analysis_stands_beside_the_published_figures(whole):
    run, _ = whole
    table = pd.read_parquet(run / "analysis.parquet")
    ours, theirs = table[table["where"] == "here"], table[table["where"] != "here"]
    assert list(ours["attribute"]) == ["red", "hat", "smile"] and ours["mean"].between(-1, 1).all()
    assert theirs.set_index("attribute").loc["Purple hair", "mean"] == 0.73
    matrix = pd.read_parquet(run / "similarity.parquet").set_index("attribute")
    assert list(matrix.columns) == ["red", "hat"], "steps in S and in W+ cannot be compared"
    assert matrix.to_numpy().diagonal() == pytest.approx([1, 1], abs=1e-5)


@for_server
def test_a_stopped_training_goes_on_where_it_was(whole, tiny, tmp_path, monkeypatch):
    import tasks.mappers.train

    saves, save = [], tasks.mappers.train.save_state

    def save_twice(*arguments: object) -> None:
        if len(saves) == 2:
            raise KeyError("the machine is gone")
        save(*arguments)
        saves.append(arguments)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(tasks.mappers.train, "save_state", save_twice)
        patch.setattr("tasks.process.retries.RETRIES", 0)
        with pytest.raises(Exception, match="machine is gone"):
            train_mappers(params(tiny, run))
    assert len(saves) == 2
    summary = train_mappers(params(tiny, run))
    for row in summary.table:
        again = load_mapper(row.mapper)[0].state_dict()
        first = load_mapper(whole[0] / "mappers" / f"{row.attribute}.safetensors")[0].state_dict()
        assert all(torch.equal(again[name], value) for name, value in first.items()), row.attribute


@for_server
def test_memory_that_runs_out_halves_the_microbatch_and_the_run_goes_on(whole, tiny, tmp_path, monkeypatch):
    from styleclip.mappers.training import MapperTraining

    losses = MapperTraining._losses

    def small_device(training: MapperTraining, *arguments: torch.Tensor) -> object:
        if training.microbatch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(training, *arguments)

    monkeypatch.setattr(MapperTraining, "_losses", small_device)
    summary = train_mappers(params(tiny, tmp_path / "run", attributes=ATTRIBUTES[1:2], microbatch=8))
    row = summary.table[0]
    assert (row.microbatch, row.steps, row.stopped) == (2, 6, None)
    again = load_mapper(row.mapper)[0].state_dict()
    first = load_mapper(whole[0] / "mappers" / "hat.safetensors")[0].state_dict()
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, atol=1e-3, rtol=1e-4)


@for_server
def test_another_training_does_not_take_the_folder(whole, tiny):
    with pytest.raises(PlanMismatch, match="batch was 2, is 3"):
        train_mappers(params(tiny, whole[0], batch=3))


@for_server
def test_an_edit_run_mixes_mappers_with_other_methods(whole, tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    mapper = str(whole[0] / "mappers" / "red.safetensors")
    in_s = str(whole[0] / "mappers" / "smile.safetensors")
    specs = [
        edit_form(target="a smiling face", alpha=4, channels=5),
        edit_form(name="none", method="mapper", mapper=mapper, alpha=0),
        edit_form(method="mapper", mapper=mapper, alpha=[1, 3]),
        edit_form(method="mapper", mapper=in_s, alpha=1),
    ]
    summary = edit(
        EditParams(bundle=tiny, device="cpu", images=str(images), output=str(tmp_path / "run"), edits=specs)
    )
    assert summary.failed == 0
    rows = read_metrics(str(tmp_path / "run"))
    assert set(rows["edit"]) == {"smiling", "none", "red_a1", "red_a3", "smile"}
    assert set(rows[rows["edit"] == "red_a1"]["target"]) == {"a face with red hair"}
    moved = rows.groupby("edit")["distance_reconstruction_edit"].mean()
    assert moved["none"] == 0 and moved["red_a3"] > moved["red_a1"] > 0


@for_server
def test_a_mapper_of_another_generator_is_refused(whole, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    spec = edit_form(method="mapper", mapper=str(whole[0] / "mappers" / "red.safetensors"))
    with pytest.raises(EditError, match=r"does not fit the generator|another generator"):
        edit(EditParams(device="cpu", images=str(images), output=str(tmp_path / "run"), edits=[spec]))


@for_server
def test_inverted_images_can_be_trained_on(tiny, tmp_path):
    models = load_bundle(tiny, device="cpu")
    w = models.generator.map(torch.randn(7, models.generator.z_dim)).numpy()
    store = str(tmp_path / "latents.zarr")
    attrs = {"weights": dict(models.fingerprint)}
    ids = [f"{i}" for i in range(7)]
    latents = LatentStore.create(store, ids, w.shape[1], w.shape[2], shard_size=6, attrs=attrs)
    latents.write_shard(0, w[:6], np.ones(6, bool))
    with pytest.raises(StorageError, match=r"is not finished \(1 shards missing\)"):
        codes(job_of(params(tiny, tmp_path / "run", latents=store)))
    latents.write_shard(1, w[6:], np.ones(1, bool))
    summary = train_mappers(params(tiny, tmp_path / "run", attributes=ATTRIBUTES[1:2], latents=store))
    assert summary.mappers == 1
    with pytest.raises(StorageError, match="none is left to train on"):
        train_mappers(params(tiny, tmp_path / "other", latents=store, validation=7))
    codes.cache_clear()
    latents.write_shard(1, w[6:] + 1, np.ones(1, bool))
    with pytest.raises(PlanMismatch, match="codes was"):
        train_mappers(params(tiny, tmp_path / "run", attributes=ATTRIBUTES[1:2], latents=store))


def test_codes_of_another_generator_are_refused(tiny, tmp_path):
    models = load_bundle(tiny, device="cpu")
    shape = (models.generator.num_ws, models.generator.w_dim)
    store = str(tmp_path / "latents.zarr")
    attrs = {"weights": {"generator": "f" * 64}}
    latents = LatentStore.create(store, [f"{i}" for i in range(7)], *shape, attrs=attrs)
    latents.write_shard(0, np.ones((7, *shape), np.float32), np.ones(7, bool))
    with pytest.raises(BundleError, match="of another generator"):
        codes(job_of(params(tiny, tmp_path / "run", latents=store)))


def job_of(asked: TrainMappersParams) -> MapperJob:
    return MapperJob.of(asked)


NAMES = ["red", "hat", "smile"]
PLAIN = named(
    [MapperAttribute(name=name, target=f"a {name} face", levels=["medium"]) for name in NAMES], "a face"
)


def test_another_grouping_changes_no_mapper(tiny, tmp_path):
    """A state belongs to its group: with another `together` each attribute still ends with its own mapper."""
    job = job_of(params(tiny, tmp_path, steps=2))

    def trained(together: int) -> tuple[list[str], dict[str, dict]]:
        groups = grouped(PLAIN, together)
        anew = begun_anew(job.output, groups)
        rows = [row for group, members in groups.items() for row in train(job, group, members, float)]
        files = {row.attribute: load_mapper(row.mapper) for row in rows}
        assert {name: card.target for name, (_, card) in files.items()} == {n: f"a {n} face" for n in NAMES}
        return anew, {name: mapper.state_dict() for name, (mapper, _) in files.items()}

    anew, first = trained(together=2)
    assert anew == []
    anew, second = trained(together=3)
    assert anew == NAMES
    for name in NAMES:
        for key, value in first[name].items():
            torch.testing.assert_close(second[name][key], value, atol=1e-4, rtol=1e-4)
    curves = read_curves(str(tmp_path))
    assert not curves.duplicated(["attribute", "step", "split"]).any()
    assert trained(together=2)[0] == []


def test_a_state_under_the_name_of_another_group_is_refused(tiny, tmp_path):
    job = job_of(params(tiny, tmp_path, steps=1))
    red, hat = PLAIN[:1], PLAIN[1:2]
    train(job, group_name(red), red, float)
    state = tmp_path / "state" / f"{group_name(red)}.pt"
    state.rename(state.with_stem(group_name(hat)))
    with pytest.raises(StoreCorrupt, match=r"state of other attributes \(red\): delete it"):
        train(job, group_name(hat), hat, float)


def test_mappers_may_lie_in_a_bucket(tiny):
    """Trained to a URI, and taken from there by an edit and by the analysis."""
    job = job_of(params(tiny, "memory://bucket/run", steps=1))
    (row,) = train(job, group_name(PLAIN[:1]), PLAIN[:1], float)
    assert row.mapper == "memory://bucket/run/mappers/red.safetensors"
    words = {"name": "red", "method": "mapper", "neutral": "a face", "target": None, "alpha": 1.0}
    (compiled,) = compile_edits(tiny, "cpu", None, [read_edit(words | {"mapper": row.mapper})])
    assert compiled.edit.target == "a red face" and len(compiled.fingerprint["mapper"]) == 64
    analysis = analyse_mappers.fn(tiny, "cpu", [row.mapper], "memory://bucket/analysis", 2)
    assert analysis.between.attributes == ["red"]
    with pytest.raises(StorageError, match=r"no such file: memory://bucket/none\.safetensors"):
        compile_edits(tiny, "cpu", None, [read_edit(words | {"mapper": "memory://bucket/none.safetensors"})])
    uris.write_bytes("memory://bucket/broken.safetensors", b"x")
    with pytest.raises(StyleclipError, match=r"memory://bucket/broken\.safetensors"):
        compile_edits(
            tiny, "cpu", None, [read_edit(words | {"mapper": "memory://bucket/broken.safetensors"})]
        )


@for_server
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": [ATTRIBUTES[0]]}, "no fine level"),
        ({"attributes": [ATTRIBUTES[1], ATTRIBUTES[1]]}, "two attributes are called 'hat'"),
        ({"attributes": []}, "no attribute is given"),
    ],
)
def test_impossible_trainings_are_refused_in_one_line(tiny, tmp_path, changes, message):
    with pytest.raises(EditError, match=message):
        train_mappers(params(tiny, tmp_path / "run", **changes))


def test_attributes_of_one_shape_are_trained_together():
    attributes = [
        MapperAttribute(target="a face", name=str(i), levels=levels)
        for i, levels in enumerate([["fine"], ["coarse"], ["fine"], ["fine"]])
    ]
    assert [[each.name for each in group] for group in grouped(attributes, 2).values()] == [
        ["1"],
        ["0", "2"],
        ["3"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {target: a hat, levels: [course]}", "attribute 1: levels"),
        ("attributes: 3", "expected a list"),
        ("- {target: a hat, space: s, levels: [fine]}", "belongs to the space levels"),
        ("- {name: hat}", "target"),
        ("{", "while parsing a flow"),
    ],
)
def test_a_wrong_attributes_file_says_where(tmp_path, text, message):
    path = tmp_path / "attributes.yaml"
    path.write_text(text)
    with pytest.raises(EditError, match=message):
        read_attributes(path)
