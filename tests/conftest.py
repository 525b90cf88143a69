"""Settings before any import of Prefect, and one real server for the whole session."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


HOME = Path(tempfile.mkdtemp(prefix="styleclip-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
PORT = free_port()
for name in [name for name in os.environ if name.startswith(("PREFECT_", "STYLECLIP_"))]:
    del os.environ[name]
os.environ |= {
    "PREFECT_HOME": str(HOME / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # tiny networks: more threads only wait for each other
}


def wait_for(condition, seconds: float, what: str):
    """The first true answer of `condition`; fails the test when there is none in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if answer := condition():
            return answer
        time.sleep(0.2)
    pytest.fail(f"after {seconds:.0f} s still no {what}")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """Address of a real Prefect server with all its services: the one that every flow of the session talks to."""
    log = (HOME / "server.log").open("w")
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(PORT)],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        | {
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_UI_API_URL": os.environ["PREFECT_API_URL"],
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
        },
    )
    url = os.environ["PREFECT_API_URL"]
    try:
        wait_for(
            lambda: process.poll() is not None or answers(f"{url}/health"),
            120,
            "answer of the Prefect server",
        )
        assert process.poll() is None, (HOME / "server.log").read_text()[-2000:]
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a bundle of tiny random networks, its directions store included."""
    from tiny_bundle import write_bundle

    from tasks.precompute import PrecomputeJob, compute_block, finalize_store, prepare_store

    path = write_bundle(tmp_path_factory.mktemp("bundle"))
    job = PrecomputeJob(
        bundle=str(path),
        device="cpu",
        seed=0,
        output=str(path.parent / "directions.zarr"),
        images=3,
        statistics_samples=50,
        step=None,
        baseline="sample",
        truncation_psi=None,
        block=16,
        batch=64,
    )
    for block in prepare_store.fn(job).missing:
        compute_block.fn(job, block)
    finalize_store.fn(job)
    return str(path)
