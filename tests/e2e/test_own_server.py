"""The server that a command brings along: its start, and where a server of the user's is looked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers import command

from flows.cli.runtime import configured_server

UP = """
from flows.cli.runtime import Runtime, ServerError
runtime = Runtime()
try:
    runtime.ready()
    print("up")
except ServerError as error:
    print(error)
"""


def start(state: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return subprocess.Popen(
        [command("python"), "-c", UP],
        env=environment | {"STYLECLIP_STATE": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_first_commands_at_once(tmp_path):
    both = [start(tmp_path / "state") for _ in range(2)]
    assert [process.communicate(timeout=200)[0] for process in both] == ["up\n", "up\n"]


def test_a_start_that_fails_says_why(tmp_path):
    state = tmp_path / "state"
    (state / "prefect.db").mkdir(parents=True)
    (line,) = start(state).communicate(timeout=100)[0].splitlines()
    assert "unable to open database file" in line and str(state / "prefect.db") in line


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".env", "PREFECT_API_URL=http://there/api\n"),
        ("prefect.toml", '[api]\nurl = "http://there/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://there/api"\n'),
        ("profiles.toml", 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://there/api"\n'),
    ],
)
def test_a_server_is_found_where_prefect_finds_it(file, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert configured_server() is None
    (tmp_path / file).write_text(content)
    assert configured_server() == "http://there/api"
