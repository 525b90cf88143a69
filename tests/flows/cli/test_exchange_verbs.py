"""The commands that take other programs' files in and hand ours out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from flows.cli.main import app
from styleclip.bundles.load import file_sha256
from styleclip.checkpoints.mappers import MapperCard, save_mapper
from styleclip.mappers import LatentMapper, MapperConfig

RUNNER = CliRunner()


def styleclip(*arguments: object) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("group", "verb"),
    [
        ("directions", "import"),
        ("directions", "export"),
        ("latents", "import"),
        ("latents", "export"),
        ("mappers", "export"),
        ("bundle", "export-generator"),
        ("bundle", "init"),
    ],
)
def test_help_shows_an_example(group, verb):
    result = styleclip(group, verb, "--help")
    assert result.exit_code == 0 and f"styleclip {group} {verb} " in result.stdout


def test_directions_go_out_and_come_in(tiny, tmp_path):
    store = tiny.replace("tiny.toml", "directions.zarr")
    out = styleclip("directions", "export", store, tmp_path / "out", "--bundle", tiny, "--json")
    assert out.exit_code == 0, out.output
    files = json.loads(out.stdout)
    back = styleclip(
        "directions",
        "import",
        files["fs3"],
        "--mean-std",
        files["mean_std"],
        "-b",
        tiny,
        "-o",
        tmp_path / "d.zarr",
    )
    assert back.exit_code == 0 and "directions of 40 of 40 channels, 5 layers up to conv1_16" in back.stdout
    shown = styleclip(
        "directions", "show", "-b", tiny, "--directions", tmp_path / "d.zarr", "-t", "a smiling face"
    )
    assert shown.exit_code == 0 and "unknown" in shown.stdout
    again = styleclip("directions", "export", store, tmp_path / "out", "--bundle", tiny)
    assert again.exit_code == 2 and "is there already" in again.stderr and "Traceback" not in again.stderr


def test_codes_come_in_and_go_out(tiny, tmp_path):
    np.save(tmp_path / "w_plus.npy", np.ones((2, 6, 8), np.float32))
    result = styleclip(
        "latents", "import", tmp_path / "w_plus.npy", "-b", tiny, "-o", tmp_path / "l.zarr", "--json"
    )
    assert result.exit_code == 0 and json.loads(result.stdout)["images"] == 2
    out = styleclip("latents", "export", tmp_path / "l.zarr", tmp_path / "out.pt")
    assert out.exit_code == 0 and f"{tmp_path}/out.ids.txt" in out.stdout
    np.save(tmp_path / "bad.npy", np.ones((2, 18, 512), np.float32))
    wrong = styleclip("latents", "import", tmp_path / "bad.npy", "-b", tiny, "-o", tmp_path / "m.zarr")
    assert wrong.exit_code == 2 and "reads [N, 6, 8]" in wrong.stderr


def test_a_generator_goes_out_to_the_published_layout(tiny, tmp_path):
    out = styleclip("bundle", "export-generator", tiny, tmp_path / "g.pt", "--json")
    assert out.exit_code == 0 and json.loads(out.stdout)["resolution"] == 16, out.output
    content = torch.load(tmp_path / "g.pt")
    assert "convs.3.conv.weight" in content["g_ema"] and content["latent_avg"].shape == (8,)
    again = styleclip("bundle", "export-generator", tiny, tmp_path / "g.pt")
    assert again.exit_code == 2 and "is there already" in again.stderr and "Traceback" not in again.stderr


def test_a_mapper_goes_out_with_the_generator_that_it_was_trained_for(tiny, tmp_path):
    card = MapperCard(
        "smile", "a smile", generator=file_sha256(Path(tiny).with_name("generator.safetensors"))
    )
    file = tmp_path / "smile.safetensors"
    save_mapper(file, LatentMapper(MapperConfig("levels", 8, ("coarse", "medium"))), card)
    alone = styleclip("mappers", "export", file, tmp_path / "alone.pt")
    assert alone.exit_code == 0 and "add it with --bundle" in alone.stdout, alone.output
    whole = styleclip("mappers", "export", file, tmp_path / "whole.pt", "--bundle", tiny)
    assert whole.exit_code == 0 and "Note" not in whole.stdout, whole.output
    names = {name.split(".")[0] for name in torch.load(tmp_path / "whole.pt")["state_dict"]}
    assert names == {"mapper", "decoder"}
    save_mapper(file, LatentMapper(MapperConfig("single", 8)), MapperCard("smile", generator="f" * 64))
    other = styleclip("mappers", "export", file, tmp_path / "other.pt", "--bundle", tiny)
    assert other.exit_code == 2 and "trained for another generator" in other.stderr
    wrong = styleclip("mappers", "export", file, tmp_path / "other.safetensors")
    assert wrong.exit_code == 2 and "published mappers are .pt files" in wrong.stderr
    assert not (tmp_path / "other.pt").exists()
