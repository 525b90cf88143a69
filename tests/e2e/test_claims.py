"""A second run on one output, as commands: who works there is said, nothing is done twice, leftovers are swept."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from helpers import command, wait_for
from tiny_bundle import write_pictures

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.faults
def test_the_second_command_leaves_and_the_third_sweeps(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 30), tmp_path / "run"
    edits = tmp_path / "long.yaml"
    edits.write_text("- {target: a hat, method: optimize, steps: 100000}\n")
    long = [
        command("styleclip"), "edit", str(images), "-o", str(run), "-b", tiny, "--edits", str(edits), "--device", "cpu",
    ]  # fmt: skip
    first = subprocess.Popen(long, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for((run / "claim.json").exists, 100, "claim")
        second = subprocess.run(long, capture_output=True, text=True, timeout=100)
        assert second.returncode == 1, second.stderr
        assert f"styleclip: {run} is taken: process {first.pid} on " in second.stderr, second.stderr
    finally:
        first.kill()
        first.wait()
    left = [run / f".{'0' * 32}.tmp", run / "images" / f"0.{'0' * 32}.partial"]
    left[1].parent.mkdir(exist_ok=True)
    for path in left:
        path.write_bytes(b"half of it")
        os.utime(path, (time.time() - 60,) * 2)
    edits.write_text("- {target: a hat, method: optimize, steps: 1}\n")
    other = subprocess.run(long, capture_output=True, text=True, timeout=100)
    assert "belongs to another run" in other.stderr and other.returncode == 2, other.stderr
    assert not any(path.exists() for path in left) and not (run / "claim.json").exists()
    assert (run / "plan.json").exists()


def test_a_wrong_call_leaves_no_folder(tiny, tmp_path):
    Path(tmp_path / "empty").mkdir()
    call = [
        command("styleclip"),
        "edit",
        str(tmp_path / "empty"),
        "-o",
        str(tmp_path / "run"),
        "-b",
        tiny,
        "-t",
        "a hat",
    ]
    assert subprocess.run(call, capture_output=True, timeout=100).returncode == 2
    assert not (tmp_path / "run").exists()
