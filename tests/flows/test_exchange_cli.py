"""The commands that take other programs' files in and hand ours out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import app

RUNNER = CliRunner()


def styleclip(*arguments: object) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("group", ["directions", "latents"])
@pytest.mark.parametrize("verb", ["import", "export"])
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
