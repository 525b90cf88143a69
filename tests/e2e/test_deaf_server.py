"""A server that goes away in the middle of a run: the work is done, the command ends by itself and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from helpers import answers, command, free_port, wait_for
from tiny_bundle import write_pictures

from storage import read_metrics

pytestmark = pytest.mark.faults


def children(pid: int) -> list[int]:
    """Processes that `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def start_edit(images: Path, run: Path, tiny: str, **environment: str) -> subprocess.Popen[str]:
    """`styleclip edit`, one image a shard; returns when a shard is finished."""
    arguments = ["edit", str(images), "-o", str(run), "-b", tiny, "-t", "a smiling face", "--shard-size", "1"]
    plain = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [command("styleclip"), *arguments, "--device", "cpu", "--json"],
        env=plain | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(run.glob("metrics/**/*.parquet")), 200, "finished shard")
    return process


def test_the_own_server_is_killed(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 60), tmp_path / "run"
    process = start_edit(images, run, tiny, STYLECLIP_STATE=str(tmp_path / "state"))
    (server,) = children(process.pid)
    os.kill(server, signal.SIGKILL)
    begun = time.monotonic()
    said, complaints = process.communicate(timeout=150)
    assert process.returncode == 0, complaints
    assert time.monotonic() - begun < 90
    assert json.loads(said)["ok"] == 60 and len(read_metrics(str(run))) == 60
    assert complaints.count("Prefect could not be told how this run ended") == 1, complaints
    assert "Traceback" not in complaints and "Error" not in complaints, complaints


def test_a_remote_server_is_away_for_longer_than_its_client_tries(tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 60), tmp_path / "run"
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"

    def serve() -> subprocess.Popen[bytes]:
        module = ["-m", "flows.cli.server", str(port), str(tmp_path / "remote.db")]
        server = subprocess.Popen(
            [command("python"), *module], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: answers(f"{url}/health"), 150, "answer of the server")
        return server

    server = serve()
    try:
        process = start_edit(images, run, tiny, PREFECT_API_URL=url)
        server.kill()
        server.wait()
        time.sleep(90)
        assert process.poll() is None and len(read_metrics(str(run))) == 60
        server = serve()
        said, complaints = process.communicate(timeout=150)
        assert process.returncode == 0 and json.loads(said)["ok"] == 60, complaints
        assert complaints.count("Prefect does not answer at") == 1 and "Traceback" not in complaints
        request = urllib.request.Request(
            f"{url}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            runs: list[dict[str, Any]] = json.load(answer)
        assert [each["state"]["type"] for each in runs] == ["COMPLETED"]
        assert runs[0]["name"].startswith("edit ") and "/run, tiny, 20" in runs[0]["name"]
    finally:
        server.kill()
        server.wait()
