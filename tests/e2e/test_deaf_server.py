"""A server that goes away in the middle of a run: the work is done, the command ends by itself and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from helpers import command, wait_for
from tiny_bundle import write_pictures

from storage import read_metrics


def children(pid: int) -> list[int]:
    """Processes that `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_own_server_is_killed(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 60), tmp_path / "run"
    arguments = ["edit", str(images), "-o", str(run), "-b", tiny, "-t", "a smiling face", "--shard-size", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [command("styleclip"), *arguments, "--json"],
        env=environment | {"STYLECLIP_STATE": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(run.glob("metrics/**/*.parquet")), 200, "finished shard")
    (server,) = children(process.pid)
    os.kill(server, signal.SIGKILL)
    begun = time.monotonic()
    said, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    assert time.monotonic() - begun < 60
    assert json.loads(said)["ok"] == 60 and len(read_metrics(str(run))) == 60
    assert complaints.count("Prefect could not be told how this run ended") == 1, complaints
    assert "Traceback" not in complaints and len(complaints) < 2000, complaints
