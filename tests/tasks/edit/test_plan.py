"""A run is continued only with everything that decides its results."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import write_pictures

import tasks.process.plans
from flows.forms.edits import AnyForm, edit_form
from flows.forms.grid import expand
from storage import DirectionStore
from storage.errors import PlanMismatch
from styleclip.checkpoints.mappers import MapperCard, save_mapper
from styleclip.mappers import LatentMapper
from styleclip.networks.mapper import MapperConfig
from tasks.edit.compile import _compile
from tasks.edit.plan import plan_edits
from tasks.jobs import EditJob
from tasks.process.models import _bundle, _directions, bundle

RED = [edit_form(name="red", target="a face with red hair", alpha=4, channels=5)]


@pytest.fixture
def own(tiny, tmp_path) -> Path:
    """A copy of the tiny bundle that a test may change."""
    shutil.copytree(Path(tiny).parent, tmp_path / "own")
    return tmp_path / "own" / Path(tiny).name


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 3)


def plan(name: Path | str, images: Path, run: Path, specs: list[AnyForm] = RED, **changes: object) -> None:
    values = {"device": "cpu", "batch": 4, "directions": None} | changes
    job = EditJob(
        bundle=str(name), seed=0, images=str(images), output=str(run), shard_size=2, save_source=False,
        save_reconstruction=False, **values,
    )  # fmt: skip
    plan_edits.fn(job, expand(specs, "a face"))


def forget() -> None:
    """What comes now is done by a process of its own, as after a crash."""
    for cache in (_bundle, _directions, _compile):
        cache.cache_clear()


def mapper_file(path: Path, generator: str, seed: int) -> Path:
    """A mapper with random weights."""
    torch.manual_seed(seed)
    mapper = LatentMapper(MapperConfig("single", 8))
    save_mapper(
        path, mapper, MapperCard(attribute=path.stem, target="a face with a hat", generator=generator)
    )
    return path


@pytest.mark.parametrize("changed", ["one", "two"])
def test_another_mapper_under_the_same_name_is_another_run(tiny, images, tmp_path, changed):
    generator = bundle(tiny, "cpu").fingerprint["generator"]
    files = {name: mapper_file(tmp_path / f"{name}.safetensors", generator, 1) for name in ("one", "two")}
    specs = [edit_form(name=name, method="mapper", mapper=str(file)) for name, file in files.items()]
    plan(tiny, images, tmp_path / "run", specs)
    forget()
    plan(tiny, images, tmp_path / "run", specs)
    mapper_file(files[changed], generator, 2)
    forget()
    with pytest.raises(PlanMismatch, match=rf"edits\.{changed}\.mapper was"):
        plan(tiny, images, tmp_path / "run", specs)


def test_the_settings_of_the_bundle_belong_to_the_run(own, images, tmp_path):
    plan(own, images, tmp_path / "run")
    text = own.read_text()
    for changed, what in (
        (text.replace('"a picture of {}"', '"a photo of {}"'), "templates was"),
        (text + "truncation_psi = 0.5\n", "truncation_psi was"),
    ):
        own.write_text(changed)
        forget()
        with pytest.raises(PlanMismatch, match=what):
            plan(own, images, tmp_path / "run")


@pytest.mark.parametrize("array", ["directions", "style_std", "magnitude"])
def test_every_number_of_the_directions_belongs_to_the_run(own, images, tmp_path, array):
    plan(own, images, tmp_path / "run")
    store = DirectionStore.open(str(own.parent / "directions.zarr"))
    values = store._array(array)
    values[:] = np.roll(values[:], 1, axis=0)
    forget()
    with pytest.raises(PlanMismatch, match=r"edits\.red\.directions was"):
        plan(own, images, tmp_path / "run")


def test_the_program_and_its_precision_belong_to_the_run_and_the_batch_does_not(
    tiny, images, tmp_path, monkeypatch
):
    plan(tiny, images, tmp_path / "run")
    plan(tiny, images, tmp_path / "run", batch=1, device="auto")
    with pytest.raises(PlanMismatch, match="precision was float32, is tf32"):
        plan(tiny, images, tmp_path / "run", precision="tf32")
    monkeypatch.setattr(tasks.process.plans, "package_version", lambda: "99.0")
    with pytest.raises(PlanMismatch, match=r"package_version was .*, is 99\.0"):
        plan(tiny, images, tmp_path / "run")
