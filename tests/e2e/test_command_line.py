"""The `styleclip` command: what it says, what it leaves behind, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from helpers import command
from tiny_bundle import write_bundle, write_pictures
from typer.testing import CliRunner, Result

from flows.cli.main import app

RUNNER = CliRunner()


def styleclip(*arguments: object) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def one_line(result: Result) -> str:
    """What a wrong call says: exactly one line on stderr that starts with the program's name."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("styleclip: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 4)


def test_help_teaches_and_is_quick():
    for arguments in ([], ["edit"], ["precompute"], ["invert"], ["evaluate"], ["directions", "show"]):
        result = styleclip(*arguments, "--help")
        assert result.exit_code == 0 and "styleclip " in result.stdout, result.stdout
    assert "needs no network" in styleclip("demo", "--help").stdout
    slow = "import sys, flows.cli.main; print({'torch', 'prefect', 'open_clip', 'zarr', 'pandas'} & set(sys.modules))"
    output = subprocess.run(
        [command("python"), "-c", slow], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "set()"


@pytest.mark.usefixtures("prefect_server")
def test_edit_says_what_where_and_next(tiny, images, tmp_path):
    run = tmp_path / "run"
    result = styleclip(
        "edit", images, "-o", run, "-b", tiny, "-t", "a smiling face", "-a", "2,3", "-c", 4, "--json"
    )
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    summary = json.loads(line)
    assert summary["rows"] == 8 and [row["edit"] for row in summary["table"]] == [
        "smiling_a2_c4",
        "smiling_a3_c4",
    ]
    assert (
        "a smiling face" in result.stderr and f"{run}/metrics" in result.stderr and "Next:" in result.stderr
    )

    again = styleclip("edit", images, "-o", run, "-b", tiny, "-t", "a smiling face", "--seed", "5")
    assert again.exit_code == 2 and "belongs to another run" in one_line(again)


@pytest.mark.usefixtures("prefect_server")
def test_too_many_bad_files_end_with_1_and_keep_the_rest(tiny, images, tmp_path):
    folder = write_pictures(tmp_path / "images", 2)
    (folder / "empty.png").write_bytes(b"")
    result = styleclip("edit", folder, "-o", tmp_path / "run", "-b", tiny, "-t", "a smiling face")
    assert result.exit_code == 1 and "1 of 3 rows failed (1 Empty)" in one_line(result)
    assert len(list((tmp_path / "run" / "images" / "smiling").iterdir())) == 2


@pytest.mark.usefixtures("prefect_server")
def test_precompute_invert_and_directions(tiny, images, tmp_path):
    store = tmp_path / "d.zarr"
    made = styleclip("precompute", "-o", store, "-b", tiny, "-n", 2, "--statistics-samples", 20, "--json")
    assert made.exit_code == 0 and json.loads(made.stdout)["channels"] == 40, made.output
    shown = styleclip(
        "directions", "show", "-t", "a smiling face", "-b", tiny, "--directions", store, "--top", 3
    )
    assert shown.exit_code == 0 and "conv1_" in shown.stdout and "Next:" in shown.stdout, shown.output
    used = styleclip("edit", images, "-o", tmp_path / "run", "-b", tiny, "-t", "a hat", "--directions", store)
    assert used.exit_code == 0, used.output
    inverted = styleclip("invert", images, "-o", tmp_path / "codes", "-b", tiny, "--reconstructions")
    assert inverted.exit_code == 0 and (tmp_path / "codes" / "latents.zarr").is_dir(), inverted.output


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edit", "IMAGES", "-t", "a hat", "-b", "avatar"], "did you mean 'avatars'?"),
        (["edit", "nowhere", "-t", "a hat"], "nowhere: no such folder"),
        (["edit", "EMPTY", "-t", "a hat", "-b", "TINY"], "holds no PNG, JPEG or WebP file"),
        (["edit", "IMAGES", "-b", "TINY"], "say what the images shall show"),
        (["edit", "IMAGES", "-t", "a hat", "--alpha", "much"], "--alpha takes numbers"),
        (["edit", "IMAGES", "-t", "a hat", "--beta", "0.1", "--channels", "3"], "not both"),
        (["edit", "IMAGES", "-t", "a hat", "--method", "magic"], "method"),
        (["edit", "IMAGES", "-t", "a hat", "--shard-size", "0"], "shard_size"),
        (["edit", "IMAGES", "-t", "a hat " * 40, "-b", "TINY"], "shorten it"),
        (["edit", "IMAGES", "-t", "a hat", "--beta", "1", "-b", "TINY"], "leaves no channel to move"),
        (
            ["edit", "IMAGES", "-t", "a hat", "-b", "TINY", "--directions", "no.zarr"],
            "no directions store at no.zarr",
        ),
        (["edit", "IMAGES", "--edits", "none.yaml"], "edits file none.yaml cannot be read"),
        (
            ["edit", "IMAGES", "-t", "a hat", "-b", "BROKEN"],
            "needs BROKEN/encoder.safetensors (encoder), which",
        ),
        (["edit", "IMAGES", "-t", "a hat", "-b", "TINY", "--device", "cuda:77"], "cuda:77"),
        (["invert", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_status_2(
    arguments, says, tiny, images, tmp_path, tmp_path_factory
):
    (tmp_path / "empty").mkdir()
    broken = write_bundle(tmp_path / "broken")
    (broken.parent / "encoder.safetensors").unlink()
    words = {"IMAGES": images, "EMPTY": tmp_path / "empty", "TINY": tiny, "BROKEN": broken}
    result = styleclip(*[words.get(word, word) for word in arguments], "-o", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert says.replace("BROKEN", str(broken.parent)) in one_line(result)
    assert not (tmp_path / "run").exists()


def test_bundle_list_names_the_embedded_world():
    result = styleclip("bundle", "list", "--json")
    assert result.exit_code == 0 and "avatars" in json.loads(result.stdout)["bundles"]


def test_without_a_server_a_run_brings_its_own_and_takes_it_away(tiny, images, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "STYLECLIP_STATE": str(tmp_path / "state")}
    arguments = ["edit", images, "-o", tmp_path / "run", "-b", tiny, "-t", "a smiling face", "--json"]
    done = subprocess.run(
        [command("styleclip"), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 4
    assert "Traceback" not in done.stderr
    database = tmp_path / "state" / "prefect.db"
    assert f"Recorded in {database}" in done.stderr and database.exists()
    # the database of `prefect server start` is not touched
    assert not (tmp_path / "prefect" / "prefect.db").exists()
    left = [
        path for path in Path("/proc").glob("[0-9]*/environ")
        if _readable(path) and str(tmp_path / "prefect").encode() in path.read_bytes()
    ]  # fmt: skip
    assert not left


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
