"""Claims on run folders: one holder at a time, in real processes; a dead one's claim is void."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from storage import claims, uris
from storage.claims import EXPIRY, Claim, claimed, holder_of
from storage.errors import FolderTaken

HOLD = """
import sys, time
from storage.claims import claimed
with claimed(sys.argv[1], "the folder"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_process(uri: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, uri], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "claim.json")


def test_the_second_is_told_who_works_there_and_a_dead_holder_is_none(uri):
    with another_process(uri) as process:
        with pytest.raises(FolderTaken, match=f"the folder is taken: process {process.pid} on .* since 20"):
            claimed(uri, "the folder").__enter__()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with claimed(uri, "the folder") as held:
            found = holder_of(uri)
            assert held and found is not None and found.pid == os.getpid()
    assert not os.path.exists(uri)


def test_rivals_exclude_each_other(tmp_path):
    part, whole = str(tmp_path / "claim-1-of-2.json"), str(tmp_path / "claim.json")
    with claimed(part, "the folder", rivals=lambda: [whole]):
        with pytest.raises(FolderTaken):
            claimed(whole, "the folder", rivals=lambda: [part]).__enter__()
        with claimed(str(tmp_path / "claim-2-of-2.json"), "the folder", rivals=lambda: [whole]):
            pass
    with claimed(whole, "the folder", rivals=lambda: [part]):
        pass


def test_waiting_ends_with_the_holder(uri):
    with another_process(uri) as process:
        threading.Timer(1.5, lambda: os.kill(process.pid, signal.SIGKILL) or process.wait()).start()
        begun = time.monotonic()
        with claimed(uri, "the folder", wait=True):
            assert time.monotonic() - begun > 1


def test_a_number_that_another_process_has_now_is_void(uri):
    ours = Claim.of_this_process()
    assert not ours.void and replace(ours, began="1").void


def test_on_another_machine_signs_of_life_count():
    elsewhere = replace(Claim.of_this_process(), machine="elsewhere")
    assert not elsewhere.void
    assert replace(elsewhere, alive=time.time() - EXPIRY - 1).void


def test_a_claim_is_kept_fresh_and_a_lost_one_is_left_to_its_new_holder(uri, monkeypatch):
    monkeypatch.setattr(claims, "RENEWED", 0.05)
    with claimed(uri, "the folder"):
        first = holder_of(uri)
        time.sleep(0.3)
        now = holder_of(uri)
        assert first is not None and now is not None and now.alive > first.alive
        uris.write_bytes(uri, replace(now, token="another").to_json())
        time.sleep(0.3)
    assert holder_of(uri) == replace(now, token="another")


@pytest.mark.parametrize("root", ["memory://claims", "{disk}"])
def test_of_many_takers_of_a_void_claim_one_gets_it(root, tmp_path):
    uri = uris.join(root.format(disk=tmp_path), "claim.json")
    uris.write_bytes(uri, replace(Claim.of_this_process(), began="1").to_json())
    held: list[int] = []

    def take(number: int) -> None:
        try:
            with claimed(uri, "the folder"):
                held.append(number)
                time.sleep(2.5)
        except FolderTaken:
            pass

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and not uris.exists(uri)


def test_where_nothing_can_be_written_there_is_nothing_to_claim(tmp_path):
    (tmp_path / "file").write_text("in the place of a folder")
    with claimed(str(tmp_path / "file" / "claim.json"), "the folder") as held:
        assert not held
