"""`styleclip` as a person calls it: what it says, where results are, exit status 0, 1 and 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import write_pictures

from storage import DirectionStore, read_metrics

STYLECLIP = str(Path(sys.executable).with_name("styleclip"))
pytestmark = pytest.mark.usefixtures("prefect_server")


def styleclip(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STYLECLIP, *map(str, arguments)], capture_output=True, text=True, timeout=240)


def test_help_teaches_and_loads_nothing_slow():
    begun = time.monotonic()
    shown = styleclip("--help")
    assert shown.returncode == 0 and "styleclip demo" in shown.stdout and "Exit status" in shown.stdout
    code = "import sys, flows.cli.main; print([m for m in ('torch', 'prefect') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]", time.monotonic() - begun
    for verb in ("demo", "edit", "precompute", "invert", "evaluate", "directions show", "bundle list"):
        assert styleclip(*verb.split(), "--help").returncode == 0


def test_an_edit_says_what_it_did_and_where_the_results_are(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 4)
    run = tmp_path / "run"
    arguments = (
        "edit",
        images,
        "-o",
        run,
        "-b",
        tiny,
        "-t",
        "a face with red hair",
        "--alpha",
        "2,3",
        "--channels",
        4,
    )
    done = styleclip(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["rows"] == 8 and summary["failed"] == 0
    assert str(run) in done.stderr and "Next:" in done.stderr
    assert len(read_metrics(str(run))) == 8
    other = styleclip(*arguments[:-1], 5)
    assert other.returncode == 2 and "belongs to another run" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1


def test_wrong_calls_are_one_line_and_status_2(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 1)
    (tmp_path / "empty").mkdir()
    common = ("-o", tmp_path / "run", "-b", tiny)
    red = ("-t", "a face with red hair")
    for arguments, words in [
        ((tmp_path / "none", *common, *red), "no such folder"),
        ((tmp_path / "empty", *common, *red), "holds no PNG"),
        ((images, *common), "--target"),
        ((images, *common, "-t", "a hat " * 60), "shorten it"),
        ((images, *common, *red, "--beta", "1"), "leaves no channel"),
        ((images, *common, *red, "--alpha", "much"), "--alpha takes numbers"),
        ((images, "-o", tmp_path / "run", "-b", "avatar", *red), "did you mean 'avatars'"),
    ]:
        result = styleclip("edit", *arguments)
        assert result.returncode == 2 and words in result.stderr, (arguments, result.stderr)
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_too_many_failures_are_status_1_and_everything_done_is_kept(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (images / "empty.jpg").write_bytes(b"")
    arguments = ("edit", images, "-o", tmp_path / "run", "-b", tiny, "-t", "a smiling face")
    failed = styleclip(*arguments)
    assert failed.returncode == 1 and "2 of 5 rows failed" in failed.stderr
    assert len(list((tmp_path / "run" / "images").rglob("*smiling*/*.png"))) == 3
    assert styleclip(*arguments, "--max-failed-fraction", "0.5").returncode == 0


def test_bundles_and_strongest_channels_are_shown(tiny):
    assert "avatars" in styleclip("bundle", "list").stdout
    shown = styleclip("directions", "show", "-b", tiny, "-t", "a face with a hat", "--top", 5, "--json")
    assert shown.returncode == 0, shown.stderr
    channels = json.loads(shown.stdout)["channels"]
    assert len(channels) == 5 and abs(channels[0]["projection"]) >= abs(channels[-1]["projection"])


def kill_when(arguments: list[str], ready) -> None:
    """Start a command, kill -9 it as soon as `ready` says so."""
    process = subprocess.Popen(
        [STYLECLIP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    begun = time.monotonic()
    while not ready() and process.poll() is None and time.monotonic() - begun < 120:
        time.sleep(0.01)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_precompute_ends_with_the_same_numbers(tiny, tmp_path):
    common = [
        "precompute",
        "-b",
        tiny,
        "-n",
        "40",
        "--statistics-samples",
        "50",
        "--block",
        "4",
        "--batch",
        "2",
    ]
    killed, whole = str(tmp_path / "killed.zarr"), str(tmp_path / "whole.zarr")

    def some_done() -> bool:
        return DirectionStore.exists(killed) and len(DirectionStore.open(killed).missing_blocks()) < 9

    kill_when([*common, "-o", killed], some_done)
    missing = len(DirectionStore.open(killed).missing_blocks())
    assert missing > 0
    resumed = styleclip(*common, "-o", killed, "--json")
    summary = json.loads(resumed.stdout)
    assert summary["blocks"] - summary["blocks_done_before"] == missing
    assert styleclip(*common, "-o", whole).returncode == 0
    np.testing.assert_array_equal(
        DirectionStore.open(killed).directions(), DirectionStore.open(whole).directions()
    )


def test_a_killed_edit_goes_on_and_ends_with_the_same_pictures(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 60)
    common = [
        "edit",
        str(images),
        "-b",
        tiny,
        "-t",
        "a smiling face",
        "--alpha",
        "1,2,3,4,5",
        "--shard-size",
        "4",
    ]

    def some_done() -> bool:
        return len(list((tmp_path / "killed").glob("metrics/**/*.parquet"))) >= 2

    kill_when([*common, "-o", str(tmp_path / "killed")], some_done)
    summary = json.loads(styleclip(*common, "-o", tmp_path / "killed", "--json").stdout)
    assert 2 <= summary["shards_done_before"] < summary["shards"] == 15 and summary["rows"] == 300
    assert styleclip(*common, "-o", tmp_path / "whole").returncode == 0
    ours, theirs = (
        {
            path.relative_to(tmp_path / run): path.read_bytes()
            for path in (tmp_path / run / "images").rglob("*.png")
        }
        for run in ("killed", "whole")
    )
    assert ours == theirs and len(ours) == 60 * 6


def test_invert_writes_codes_and_reconstructions(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    done = styleclip("invert", images, "-o", tmp_path / "run", "-b", tiny, "--reconstructions")
    assert done.returncode == 0, done.stderr
    from storage import LatentStore

    store = LatentStore.open(str(tmp_path / "run" / "latents.zarr"))
    assert store.ok.all() and np.abs(store.read()).sum() > 0
    assert len(list((tmp_path / "run" / "images" / "reconstruction").glob("*.png"))) == 3
