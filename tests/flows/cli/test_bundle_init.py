"""`styleclip bundle init`: from files at hand to a bundle that works, or to one clear line and nothing written."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import write_bundle
from typer.testing import CliRunner, Result

from flows.cli.main import app
from storage import read_metrics
from styleclip.bundles.spec import read_bundle
from styleclip.checkpoints import load_generator, save_native
from styleclip.networks.encoder import EncoderConfig, build_encoder

ROOT = Path(__file__).parents[3]
RUNNER = CliRunner()


def styleclip(*arguments: object) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the tiny bundle's weights; bundles are written beside it."""
    monkeypatch.setenv("STYLECLIP_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.setenv("STYLECLIP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "models"))
    return write_bundle(tmp_path / "files").parent


def init(files: Path, *more: object, clip: bool = True) -> Result:
    known = ("--clip", files / "clip.safetensors") if clip else ()
    return styleclip("bundle", "init", "mine", "-g", files / "generator.safetensors", *known, *more)


def test_files_become_a_bundle_that_has_a_name_and_is_ready(files):
    texts = ("--templates", "{}", "--templates", "a drawing of {}")
    networks = ("--encoder", files / "encoder.safetensors", "--identity", files / "identity.safetensors")
    made = init(files, *networks, *texts, "--neutral", 'a "church"', "--json")
    assert made.exit_code == 0, made.output
    summary = json.loads(made.stdout)
    assert summary["ready"] and set(summary["files"]) == {"generator", "clip", "encoder", "identity"}
    assert "our safetensors, 16×16, w of 8" in made.stderr
    assert "styleclip precompute --bundle mine" in made.stderr
    spec = read_bundle("mine")
    assert spec.path == files.parent / "bundles" / "mine.toml"
    assert (spec.neutral, spec.templates) == ('a "church"', ("{}", "a drawing of {}"))
    assert spec.encoder == files / "encoder.safetensors"
    before = spec.path.read_bytes()
    again = init(files)
    assert again.exit_code == 2 and "is there already" in again.stderr and spec.path.read_bytes() == before


def test_what_is_not_said_is_the_published_choice_and_a_folder_may_move(files, tmp_path):
    made = init(files, "-o", files)
    assert made.exit_code == 0 and "no encoder: start from codes" in made.stdout, made.output
    moved = files.rename(tmp_path / "moved")
    spec = read_bundle(moved / "mine.toml")
    assert len(spec.templates) == 79 and spec.neutral == "a face"
    assert spec.generator == moved / "generator.safetensors" and spec.generator.is_file()


def test_a_clip_that_is_not_there_yet_is_named_and_the_bundle_is_kept(files):
    made = init(files, clip=False)
    assert made.exit_code == 1 and "bundle 'mine' is not ready: 1 of 2 files" in made.stderr, made.output
    wanted = files.parent / "models" / "clip" / "ViT-B-32.pt"
    assert (
        f"clip: get it from https://github.com/openai/CLIP (licence: MIT, see page), as {wanted}"
        in made.stdout
    )
    assert read_bundle("mine").clip["checkpoint"] == wanted == read_bundle("ffhq").clip["checkpoint"]


def test_files_that_do_not_belong_together_are_one_line_and_leave_nothing(files):
    config = EncoderConfig(16, 3, 8, widths=[4], strides=[2], hidden=4)
    other = files / "other.safetensors"
    save_native(other, "encoder", config.to_dict(), build_encoder(config.to_dict()).state_dict())
    for arguments, says in (
        (("--encoder", other), "they do not belong together"),
        (("--identity", other), "holds a network of kind 'encoder'"),
        (("--encoder", files / "none.pt"), "none.pt (encoder): no such file"),
        (("--class", "1"), "knows no classes: leave --class out"),
        (("--templates", "a drawing"), "mine.toml: templates must be a list of texts with {} inside"),
        (("--clip-model", "ViT-B-23"), "open_clip knows no model 'ViT-B-23'"),
    ):
        wrong = init(files, *arguments)
        assert wrong.exit_code == 2 and says in wrong.stderr and "Traceback" not in wrong.stderr, wrong.output
        assert not list((files.parent / "bundles").glob("*"))
    for name in ("../mine", "", "mine.toml"):
        wrong = styleclip("bundle", "init", name, "-g", files / "generator.safetensors")
        assert wrong.exit_code == 2 and f"'{name}' is no name of a bundle" in wrong.stderr


def test_a_class_is_chosen_for_a_generator_that_has_some(files):
    config = load_generator(files / "generator.safetensors").config.to_dict() | {"c_dim": 3}
    from styleclip.networks.generator import Generator, GeneratorConfig

    network = Generator(GeneratorConfig.from_dict(config))
    save_native(files / "generator.safetensors", "generator", config, network.state_dict())
    wrong = init(files)
    assert wrong.exit_code == 2 and "3 classes: choose one with --class, 0 to 2" in wrong.stderr
    made = init(files, "--class", 2)
    assert made.exit_code == 0 and read_bundle("mine").generator_class == 2, made.output


def test_a_broken_bundle_is_listed_as_such_beside_the_others(files):
    (files.parent / "bundles").mkdir()
    (files.parent / "bundles" / "broken.toml").write_text('neutral = "a face')
    found = styleclip("bundle", "list")
    assert found.exit_code == 0 and "avatars" in found.stdout, found.output
    assert re.search(r"^broken: broken; bundle .*broken\.toml cannot be read", found.stdout, re.MULTILINE)


@pytest.mark.usefixtures("prefect_server")
def test_the_road_of_the_readme_ends_at_an_edit(files, tmp_path, monkeypatch):
    section = (ROOT / "README.md").read_text().split("## Your own models")[1]
    script, *commands = [
        words
        for line in section.split("```")[1].replace("\\\n", " ").splitlines()
        if (words := shlex.split(line, comments=True))
    ]
    assert [command[:2] for command in commands] == [
        ["styleclip", "bundle"],
        ["styleclip", "precompute"],
        ["styleclip", "edit"],
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", script[1:])
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(ROOT / script[1]), run_name="__main__")
    for command in commands:
        result = styleclip(*command[1:])
        assert result.exit_code == 0, (command, result.output)
    rows = read_metrics("runs/first")
    assert len(rows) == 4 and set(rows["status"]) == {"ok"}
    assert rows["channels_used"].unique().tolist() == [10]
    run = tmp_path / "runs/first"
    for row in rows.itertuples():
        edited = np.asarray(Image.open(run / row.output))
        plain = np.asarray(Image.open(run / f"images/reconstruction/{row.image_id}.png"))
        assert edited.shape == plain.shape and not np.array_equal(edited, plain)
