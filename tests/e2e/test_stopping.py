"""Ctrl-C in a real terminal, and SIGTERM to the whole group: one line, exit status 1, soon; a second one at once."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import command, wait_for
from tiny_bundle import write_pictures

LINE = "styleclip: stopped; what is finished is kept, the same command goes on from there"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 200)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which commands bring their own server; its database is made once for the module."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return environment | {"STYLECLIP_STATE": str(tmp_path_factory.mktemp("state"))}


@contextmanager
def in_a_terminal(
    arguments: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command whose controlling terminal is new; the other end of the terminal comes with it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", command("styleclip"), *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def said(terminal: int) -> str:
    """Everything that a command has written, once it has ended."""
    text = b""
    try:
        while part := os.read(terminal, 65536):
            text += part
    except OSError:  # what Linux answers when nobody holds the other end any more
        pass
    return text.decode(errors="replace")


def edit(images: Path, run: Path, tiny: str, *more: str) -> list[str]:
    return [
        "edit",
        str(images),
        "-o",
        str(run),
        "-b",
        tiny,
        "-t",
        "a smiling face",
        "--shard-size",
        "1",
        *more,
    ]


def test_ctrl_c_in_a_terminal(tiny, images, own_server, tmp_path):
    run = tmp_path / "run"
    with in_a_terminal(edit(images, run, tiny), own_server) as (process, terminal):
        wait_for(lambda: any(run.glob("metrics/**/*.parquet")), 200, "finished shard")
        os.write(terminal, b"\x03")
        begun = time.monotonic()
        words = said(terminal)
        assert process.wait(20) == 1 and time.monotonic() - begun < 15, words
    assert words.count(LINE) == 1 and "Traceback" not in words, words


def test_sigterm_to_the_group_and_another(tiny, images, own_server, tmp_path):
    """A shard that would take minutes: the first signal waits a little for it, the second one does not."""
    run = tmp_path / "run"
    long = edit(images, run, tiny, "--edits", str(tmp_path / "long.yaml"))
    (tmp_path / "long.yaml").write_text("- {target: a hat, method: optimize, steps: 100000}\n")
    process = subprocess.Popen(
        [command("styleclip"), *long],
        env=own_server,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for((run / "plan.json").exists, 200, "plan")
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    begun = time.monotonic()
    _, words = process.communicate(timeout=30)
    assert process.returncode == 1 and time.monotonic() - begun < 2, words
    assert words.count(LINE) == 1 and "Traceback" not in words, words
