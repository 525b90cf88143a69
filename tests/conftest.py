"""Settings before any import of Prefect, and one real server for the whole session."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from helpers import answers, command, free_port, wait_for

HOME = Path(tempfile.mkdtemp(prefix="styleclip-tests-"))
PORT = free_port()
for name in [name for name in os.environ if name.startswith(("PREFECT_", "STYLECLIP_"))]:
    del os.environ[name]
os.environ |= {
    "PREFECT_HOME": str(HOME / "prefect"),
    "STYLECLIP_STATE": str(HOME / "state"),
    "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # tiny networks: more threads only wait for each other
}
servers: list[subprocess.Popen[bytes]] = []


def _clean_up() -> None:
    for server in servers:
        # its data goes too, and a graceful end would wait for this very process to close its connections
        server.kill()
        server.wait()
    shutil.rmtree(HOME, ignore_errors=True)


# Before any import of Prefect, so that it runs after Prefect's own hooks: those still send logs to the server.
atexit.register(_clean_up)


@pytest.fixture(scope="session")
def prefect_server() -> str:
    """Address of a real Prefect server with all its services: the one that every flow of the session talks to."""
    url = os.environ["PREFECT_API_URL"]
    log = HOME / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [command("prefect"), "server", "start", "--port", str(PORT)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
            | {
                "PREFECT_SERVER_UI_V2_ENABLED": "false",
                "PREFECT_UI_API_URL": url,
                "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
            },
        )
    servers.append(server)
    wait_for(
        lambda: server.poll() is not None or answers(f"{url}/health"), 300, "answer of the Prefect server"
    )
    assert server.poll() is None, log.read_text()[-2000:]
    return url


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a bundle of tiny random networks, its directions store included."""
    from tiny_bundle import write_bundle

    from tasks.jobs import PrecomputeJob
    from tasks.precompute import compute_block, finalize_store, prepare_store

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
        compute_block(job, block)
    finalize_store.fn(job)
    return str(path)
