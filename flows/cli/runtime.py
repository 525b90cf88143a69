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
from typing import Any

from dotenv import dotenv_values

from styleclip.bundles.lock import state_folder

STARTUP_TIMEOUT = 300.0
"""Seconds: 10 on two idle cores, but two minutes have been seen on a machine with five times more work than cores."""

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
}
"""The commands print their own progress and one line per mistake; the full log goes to the run in Prefect."""


class ServerError(Exception):
    """The server for this process did not start; one line with its last words."""


def configured_server() -> str | None:
    """Address of the Prefect server that the user has set, looked for where Prefect looks, in its order:

    environment, .env, prefect.toml and pyproject.toml of the working directory, profile.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    if url := dotenv_values(".env").get("PREFECT_API_URL"):
        return url
    for file, tables in (("prefect.toml", ("api",)), ("pyproject.toml", ("tool", "prefect", "api"))):
        if isinstance(url := _entry(Path(file), *tables, "url"), str):
            return url
    profiles = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser() / "profiles.toml"
    active = os.environ.get("PREFECT_PROFILE") or _entry(profiles, "active")
    url = _entry(profiles, "profiles", str(active), "PREFECT_API_URL")
    return url if isinstance(url, str) else None


def _entry(file: Path, *keys: str) -> Any:
    """What a TOML file holds under nested keys; None when it, or the file, is not there or cannot be read."""
    try:
        content: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        for key in keys:
            content = content[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content


def own_database() -> Path:
    """The SQLite file of the commands' own servers; apart from any that `prefect server start` uses."""
    return state_folder().absolute() / "prefect.db"


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
        self.database = own_database()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli.server", str(port), str(self.database)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
            # the terminal's Ctrl-C is for this process alone
            start_new_session=True,
        )
        atexit.register(self.stop)

    def ready(self) -> None:
        """Return when the server answers. Raises ServerError when it ended, or does not answer in time."""
        begun = time.monotonic()
        while not answers(f"{self.url}/health"):
            if not self.own:
                raise ServerError(
                    f"no Prefect server answers at {self.url}: start it with `prefect server start`, "
                    "or unset PREFECT_API_URL to run without one"
                )
            if self._process.poll() is not None or time.monotonic() - begun > STARTUP_TIMEOUT:
                self._log.seek(0)
                said = self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                reasons = [line for line in said if "Error" in line] or said
                raise ServerError(
                    f"Prefect's server for this run did not start: {reasons[-1]}; its database is {self.database}, "
                    "below $STYLECLIP_STATE: see that it can be written"
                )
            time.sleep(0.1)

    def alive(self) -> bool:
        """Whether the server may answer again: false when it was this process's own, and has ended."""
        return not self.own or self._process.poll() is None

    def stop(self) -> None:
        """End the process's own server; harmless when there is none."""
        if self.own and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def wait_for_server(url: str) -> None:
    """Return when a server that was just started answers. Raises ServerError when it does not in time."""
    begun = time.monotonic()
    while not answers(f"{url}/health"):
        if time.monotonic() - begun > STARTUP_TIMEOUT:
            raise ServerError(f"no Prefect server answers at {url} after {STARTUP_TIMEOUT:.0f} s")
        time.sleep(0.3)


def answers(url: str) -> bool:
    """Whether an HTTP address answers, were it to ask for a password."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it wants the key or password that Prefect's client will bring
    except (urllib.error.URLError, OSError):
        return False
