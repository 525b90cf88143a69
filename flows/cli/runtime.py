"""Where the command line's flow runs are recorded: the configured Prefect server, or one for this process alone.

Nothing here imports Prefect: the server has to start, and the settings have to be there, before that import.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

STARTUP_TIMEOUT = 300.0
"""Seconds: 10 on two idle cores, but two minutes have been seen on a machine with five times more work than cores."""

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""The commands print their own progress and one line per mistake; the full log goes to the run in Prefect."""


class ServerError(Exception):
    """The server for this process did not start; one line with its last words."""


def configured_server() -> str | None:
    """Address of the Prefect server that the user has set, by environment or by profile."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    url = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return url if isinstance(url, str) else None


class Runtime:
    """Starts what Prefect needs as early as possible; `ready` waits for it, as late as possible."""

    def __init__(self) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self.url = configured_server()
        self.own = self.url is None
        if self.own:
            self._start()

    def _start(self) -> None:
        # Prefect reads its settings once: imported earlier, it would start a second server of its own
        assert "prefect" not in sys.modules, "make the Runtime before importing flows that import Prefect"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(port)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        atexit.register(self.stop)

    def ready(self) -> None:
        """Return when the server answers. Raises ServerError when it ended, or does not answer in time."""
        begun = time.monotonic()
        while not _healthy(f"{self.url}/health"):
            if not self.own:
                raise ServerError(
                    f"no Prefect server answers at {self.url}: start it with `prefect server start`, "
                    "or unset PREFECT_API_URL to run without one"
                )
            if self._process.poll() is not None or time.monotonic() - begun > STARTUP_TIMEOUT:
                self._log.seek(0)
                said = self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise ServerError(f"Prefect's server for this run did not start: {said[-1]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the process's own server; harmless when there is none."""
        if self.own and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
