"""A site: `styleclip server up`, a worker, and a night whose worker and flow are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import command, free_port, wait_for
from tiny_bundle import write_pictures

from storage import read_metrics

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `styleclip server up` was given."""
    home = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    home |= {"PREFECT_HOME": str(tmp_path / "home")}
    port = str(free_port())
    subprocess.run(
        [command("styleclip"), "server", "up", "--port", port], cwd=ROOT, env=home, check=True, timeout=300
    )
    yield home | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    down = [command("styleclip"), "server", "down"]
    subprocess.run(down, cwd=ROOT, env=home, check=True, timeout=60)


def ask(site: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """The server's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{site['PREFECT_API_URL']}/{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def worker(site: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu", "--limit", "1"],
        cwd=ROOT, env=site | {"PREFECT_WORKER_QUERY_SECONDS": "2"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_run_whose_worker_and_process_are_killed_comes_back(site, tiny, tmp_path):
    images, run = write_pictures(tmp_path / "images", 4), tmp_path / "run"
    edits = [{"method": "optimize", "target": "a hat", "steps": 400}]
    params = {
        "bundle": tiny, "device": "cpu", "images": str(images), "output": str(run), "edits": edits, "shard_size": 1,
        "wait": True,
    }  # fmt: skip
    deployment = ask(site, "deployments/name/edit/edit")
    flow_run = ask(
        site, f"deployments/{deployment['id']}/create_flow_run", {"parameters": {"params": params}}
    )
    first = worker(site)
    wait_for(lambda: any(run.glob("metrics/**/*.parquet")), 300, "finished shard")
    # the worker and, in sessions of their own, the processes that it has started
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"PREFECT__FLOW_RUN_ID={flow_run['id']}".encode() in environment:
            os.kill(int(folder.name), signal.SIGKILL)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = len(list(run.glob("metrics/**/*.parquet")))
    assert 1 <= done < 4
    second = worker(site)
    try:

        def ended() -> Any:
            now = ask(site, f"flow_runs/{flow_run['id']}")
            return now if now["state"]["type"] == "COMPLETED" else None

        state = wait_for(ended, 500, "end")
        assert state["run_count"] == 2
        assert read_metrics(str(run))["status"].tolist() == ["ok"] * 4
    finally:
        os.killpg(second.pid, signal.SIGTERM)
        second.wait()
