"""A disk that is full, and one that is read-only: real file systems, so only for those who may mount them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_bundle import write_pictures

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams
from storage import read_metrics
from storage.errors import DiskFull

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]).returncode
    ):
        pytest.skip("only the superuser may mount a disk")
    yield place
    # lazily: readers of the run may still hold a file open
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def asked(images: Path, run: Path, tiny: str) -> EditParams:
    return EditParams(
        images=str(images), output=str(run), bundle=tiny, device="cpu", shard_size=1,
        edits=[edit_form(target="a face with red hair", channels=5)],
    )  # fmt: skip


def test_a_full_disk_stops_the_run_at_once_and_space_lets_it_go_on(disk, tiny, tmp_path):
    params = asked(write_pictures(tmp_path / "images", 40), disk / "run", tiny)
    (disk / "ballast").write_bytes(bytes(1_400_000))
    state = edit(params, return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, DiskFull) and "free some space and run again" in str(state.message)
    kept = sorted((disk / "run").glob("metrics/**/*.parquet"))
    assert 1 <= len(kept) < 40 and len(read_metrics(str(disk / "run"))) == len(kept)
    # nothing was computed after that: nothing was written since, not even in part
    pictures = len(list((disk / "run").glob("images/*/*.png")))
    assert pictures <= 2 * (len(kept) + 1)
    times = {path: path.stat().st_mtime_ns for path in kept}
    (disk / "ballast").unlink()
    summary = edit(params)
    assert (summary.ok, summary.shards_done_before) == (40, len(kept))
    assert times == {path: path.stat().st_mtime_ns for path in kept}


def test_a_finished_run_on_a_read_only_disk_is_completed(disk, tiny, tmp_path):
    params = asked(write_pictures(tmp_path / "images", 3), disk / "run", tiny)
    edit(params)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    begun = time.monotonic()
    summary = edit(params)
    assert (summary.ok, summary.shards_done_before, summary.failed) == (3, 3, 0)
    assert time.monotonic() - begun < 60


def test_an_unfinished_run_on_a_read_only_disk_says_so(disk, tiny, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    state = edit(asked(write_pictures(tmp_path / "images", 3), disk / "run", tiny), return_state=True)
    assert state.is_failed() and "Read-only file system" in str(state.message), state.message
