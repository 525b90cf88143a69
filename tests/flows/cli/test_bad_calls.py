"""Hostile and odd values against every verb: one line on stderr and the right exit status, never a traceback."""

# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer.testing
from tiny_bundle import write_pictures

from flows.cli.main import app

pytestmark = pytest.mark.usefixtures("prefect_server")
FILES = {
    "nested.json": "[" * 3000 + "]" * 3000,
    "digits.json": '[{"target": "x", "alpha": ' + "9" * 5000 + "}]",
    "nan.json": '[{"target": "x", "alpha": NaN}]',
    "date.yaml": "- {target: 2024-13-45}",
    "number.yaml": "- 5",
    "text.yaml": "just text",
    "unknown.yaml": "- {target: x, alpa: 3}",
    "steps.yaml": "- {target: x, steps: 3}",
    "empty.yaml": "",
    "nothing.yaml": "[]",
    "lists.yaml": "- {target: x, alpha: []}",
    "twice.yaml": "[{target: x}, {target: x}]",
    "both.yaml": "- {target: x, beta: 0.1, channels: 4}",
    "method.yaml": "- {target: x, method: magic}",
    "mapper.yaml": "- {method: mapper}",
    "tab.yaml": "a:\n\t- b",
    "broken.toml": "name = ",
    "other.toml": "[generator]\npath = 5",
}
EDIT = ("edit", "@pics", "-o", "@out", "-b", "@tiny")
RED = ("-t", "a face with red hair")
WRONG: list[tuple[str, ...]] = [
    *((*EDIT, "-e", f"@{name}") for name in FILES if not name.endswith(".toml")),
    (*EDIT, "-e", "@missing.yaml"), (*EDIT, "-e", "@pics"), (*EDIT, "-e", "@latin.yaml"), (*EDIT, "-e", "@broken.toml"),
    (*EDIT,), (*EDIT, "-t", ""), (*EDIT, "-t", "!!!", "--name", "!!!"), (*EDIT, *RED, "--name", "source"),
    (*EDIT, *RED, "--name", "reconstruction"), (*EDIT, *RED, "-t", "another", "--name", "both"),
    (*EDIT, *RED, "--neutral", "a face with red hair"),
    *((*EDIT, *RED, "--alpha", value) for value in ("nan", "inf", "-inf", "1e999", "x", "1,,x", "[[1]]")),
    *((*EDIT, *RED, "--beta", value) for value in ("nan", "-0.1", "1.1", "x", "inf")),
    *((*EDIT, *RED, "--channels", value) for value in ("0", "-5", "2.5", "nan", "x")),
    *((*EDIT, *RED, option, value) for option in ("--batch", "--shard-size") for value in ("0", "-1", "x", "1e9")),
    *((*EDIT, *RED, "--max-failed-fraction", value) for value in ("-1", "2", "nan", "x")),
    *((*EDIT, *RED, option, "bad") for option in ("--device", "--method", "--align", "--precision", "--refine-steps")),
    (*EDIT, *RED, "--device", "cuda:99"), (*EDIT, *RED, "--device", ""), (*EDIT, *RED, "--refine-steps", "-1"),
    (*EDIT, *RED, "--directions", "@missing.zarr"), (*EDIT, *RED, "--directions", "@pics"),
    (*EDIT, *RED, "--landmarks", "@missing.json"), (*EDIT, *RED, "--align", "landmarks"),
    (*EDIT, *RED, "--align", "landmarks", "--landmarks", "@text.yaml"), (*EDIT, *RED, "--align", "detector"),
    (*EDIT, "--method", "mapper"), (*EDIT, "--method", "mapper", "--mapper", "none"),
    (*EDIT, "--method", "mapper", "--mapper", "@missing.safetensors"),
    (*EDIT, "--method", "mapper", "--mapper", "@text.safetensors"),
    ("edit", "@pics", "-o", "", *RED), ("edit", "@pics", "-o", "/", *RED), ("edit", "@pics", "-o", "  ", *RED),
    ("edit", "@pics", "-o", "@pics/inside", "-b", "@tiny", *RED), ("edit", "@pics", "-o", "@text.yaml", "-b", "@tiny", *RED),
    ("edit", "", "-o", "@out", *RED), ("edit", "@missing", "-o", "@out", *RED), ("edit", "@text.yaml", "-o", "@out", *RED),
    ("edit", "@empty", "-o", "@out", "-b", "@tiny", *RED), ("edit", "@loops", "-o", "@out/x", "-b", "@missing", *RED),
    ("edit", "s3://me:secret@bucket/x", "-o", "@out", *RED), ("edit", "nowhere://x", "-o", "@out", "-b", "@tiny", *RED),
    *(("edit", "@pics", "-o", "@out", "-b", name, *RED) for name in ("none", "", "@broken.toml", "@other.toml", "@pics")),
    ("edit", "@pics", "-o", "@out", "--frobnicate"), ("edit",), ("frobnicate",),
    ("invert", "@pics", "-o", "", "-b", "@tiny"), ("invert", "@missing", "-o", "@out"), 
    ("invert", "@pics", "-o", "@out", "-b", "@tiny", "--batch", "0"), ("invert", "@pics", "-o", "@out", "-b", "none"),
    ("invert", "@pics", "-o", "@pics/in", "-b", "@tiny"), ("invert", "@pics", "-o", "@out", "-b", "@tiny", "--align", "x"),
    ("optimize", "@pics", "-o", "", *RED), ("optimize", "@pics", "-o", "@out"), ("optimize", "-o", "@out", *RED),
    ("optimize", "@pics", "-o", "@out", "--free", "x"),
    *(("optimize", "@pics", "-o", "@out", "-b", "@tiny", *RED, *more) for more in (
        ("--steps", "0"), ("--steps", "x"), ("--lr", "nan"), ("--lr", "-1"), ("--lambda-l2", "-1"), ("--lambda-l2", "nan"),
        ("--lambda-id", "inf"), ("--space", "z"), ("--clip-shift", "2"), ("--channels", "3"), ("--torgb",), ("--in-sigma",),
        ("--patience", "-1"), ("--keep-every", "-1"), ("--relative", "nan"), ("--latent-noise", "-1"),
    )),
    ("optimize", "-o", "@out", "--free", "!!!", "-b", "@tiny"), ("optimize", "-o", "@out", "--free", "a", "--space", "s"),
    ("precompute", "-o", ""), ("precompute", "-o", "@text.yaml", "-b", "@tiny"), ("precompute", "-o", "@pics", "-b", "@tiny"),
    *(("precompute", "-o", "@d.zarr", "-b", "@tiny", *more) for more in (
        ("-n", "0"), ("-n", "-3"), ("--psi", "0"), ("--psi", "nan"), ("--psi", "2"), ("--channels", "5"), ("--channels", "9:3"),
        ("--channels", "100000:100001"), ("--channels", "x:y"), ("--block", "0"), ("--batch", "0"), ("--precision", "x"),
        ("--step", "nan"), ("--step", "0"), ("--baseline", "x"),
    )),
    ("train-mappers", "-o", "@out", "-b", "@tiny"), ("train-mappers", "-o", "", *RED),
    *(("train-mappers", "-o", "@out", "-b", "@tiny", "--attributes", f"@{name}") for name in (
        "nested.json", "date.yaml", "latin.yaml",
    )),
    *(("train-mappers", "-o", "@out", "-b", "@tiny", *RED, *more) for more in (
        ("--steps", "0"), ("--lr", "nan"), ("--batch", "0"), ("--together", "0"), ("--latents", "@missing.zarr"),
        ("--latents", "@pics"), ("--psi", "0"), ("--microbatch", "0"), ("--precision", "x"),
    )),
    ("evaluate", "-o", ""), ("evaluate", "-o", "@out", "-e", "purple hair"), ("evaluate", "-o", "@out", "-n", "0"),
    ("evaluate", "-o", "@out", "-m", "magic"), ("evaluate", "-o", "@out", "--compare", "magic"),
    *(("evaluate", "-o", "@out", "-e", "hat", "--strengths", f"@{name}") for name in (
        "missing.json", "nested.json",
    )),
    ("evaluate", "-o", "@out", "--costs", "-b", "none"),
    ("directions", "show", "-t", "a face with a hat", "-b", "@tiny", "--top", "-5"), ("directions", "show", "-t", ""),
    ("directions", "show", "-t", "a face with a hat", "-b", "@tiny", "--directions", "@missing.zarr"),
    ("directions", "import", "@missing.npy", "--mean-std", "@text.yaml", "-o", "@i.zarr", "-b", "@tiny"),
    ("directions", "import", "@text.yaml", "--mean-std", "@text.yaml", "-o", "@i.zarr", "-b", "@tiny"),
    ("directions", "import", "@text.yaml", "--mean-std", "@text.yaml", "-o", "", "-b", "@tiny"),
    ("directions", "export", "@missing.zarr", "@out"), ("directions", "export", "@pics", "@out"),
    ("latents", "import", "@missing.npy", "-o", "@l.zarr", "-b", "@tiny"), ("latents", "import", "@text.pt", "-o", "@l.zarr", "-b", "@tiny"),
    ("latents", "import", "@text.yaml", "-o", "@l.zarr", "-b", "@tiny"), ("latents", "export", "@missing.zarr", "@x.npy"),
    ("latents", "export", "@pics", "@x.txt"),
    ("mappers", "analyse", "-n", "1"), ("mappers", "analyse", "none", "-b", "@tiny", "-o", "@out"),
    ("mappers", "analyse", "@text.safetensors", "-b", "@tiny", "-o", "@out"), ("mappers", "export", "@missing.safetensors", "@x.pt"),
    ("mappers", "export", "@text.safetensors", "@x.pt"), ("mappers", "export", "@text.safetensors", "@x.txt"),
    ("bundle", "check", "none"), ("bundle", "check", ""), ("bundle", "check", "@broken.toml"), ("bundle", "check", "@pics"),
    ("bundle", "init", "mine", "--generator", "@missing.pkl"), ("bundle", "init", "mine", "--generator", "@text.pt"),
    ("bundle", "init", "../mine", "--generator", "@text.pt"), ("bundle", "export-generator", "none", "@x.pt"),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_pictures(folder / "pics", 2)
    (folder / "empty").mkdir()
    (folder / "loops").mkdir()
    (folder / "loops" / "loop.png").symlink_to("loop.png")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "latin.yaml").write_bytes(b"- {target: caf\xe9}")
    for name in ("text.pt", "text.safetensors"):
        (folder / name).write_text("no weights")
    (folder / "tiny").write_text(tiny)
    return folder


def call(place: Path, words: tuple[str, ...]) -> typer.testing.Result:
    """The command in this process: '@name' stands for a path in the folder of bad files."""
    tiny = (place / "tiny").read_text()
    given = [
        tiny if word == "@tiny" else str(place / word[1:]) if word.startswith("@") else word for word in words
    ]
    return typer.testing.CliRunner().invoke(app, given)


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:70])
def test_a_wrong_call_is_one_line_and_two(place, words):
    before = {path for path in place.rglob("*.png")}
    result = call(place, words)
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and "secret" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("styleclip: ") or "Error" in line]
    assert lines, result.output
    assert {path for path in place.rglob("*.png")} == before


def test_what_failed_is_said_to_machines_as_well(place):
    """Exit 1: the run can be resumed, and its counts are known."""
    (folder := place / "half").mkdir()
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "good.png").write_bytes((place / "pics" / "p000.png").read_bytes())
    result = call(place, ("edit", "@half", "-o", "@half-out", "-b", "@tiny", *RED, "--json"))
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    said = json.loads(line)
    assert (said["status"], said["rows"], said["failed"]) == (1, 2, 1) and "--retry-failed" in said["error"]
    wrong = call(place, ("edit", "@missing", "-o", "@out", *RED, "--json"))
    assert json.loads(wrong.stdout)["status"] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_can_be_mended(place):
    (locked := place / "locked").mkdir(mode=0o500)
    result = call(place, ("edit", "@pics", "-o", str(locked / "run"), "-b", "@tiny", *RED))
    assert result.exit_code in (1, 2) and "Traceback" not in result.output
