"""Worker processes that are killed, a picture that kills them, a scheduler that goes away: nothing of it shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pandas as pd
import psutil
import pytest
from helpers import command, free_port, wait_for
from tiny_bundle import write_pictures

from flows.common.outcome import RunFailed
from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runners import Runner, RunnerError
from flows.forms.runs import EditParams
from storage import read_metrics
from tasks.edit.summary import EditSummary

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

COUNT, SHARDS = 24, 12
HERE, TWO = Runner(), Runner(kind="processes", workers=2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), COUNT)


@pytest.fixture(scope="module")
def whole(prefect_server, tiny, images, tmp_path_factory) -> Path:
    """An undisturbed run in one process."""
    run = tmp_path_factory.mktemp("whole") / "run"
    edit(params(tiny, images, run))
    return run


@pytest.fixture
def slow_workers(monkeypatch) -> Iterator[None]:
    """Worker processes started in here take a quarter of a second per picture."""
    monkeypatch.setenv("TESTS_SECONDS", "0.25")
    with dask.config.set({"distributed.worker.preload": ["slow_or_deadly"]}):
        yield


def params(tiny: str, images: Path, run: Path, runner: Runner = HERE, **changes: object) -> EditParams:
    values: dict[str, object] = {"max_failed_fraction": 0.1} | changes
    return EditParams(
        images=str(images), output=str(run), bundle=tiny, device="cpu", shard_size=2, batch=1, runner=runner,
        edits=[edit_form(target="a face with red hair", alpha=[2, 4], channels=5)], **values,
    )  # fmt: skip


def rows(run: Path) -> pd.DataFrame:
    found = read_metrics(str(run))
    columns = [column for column in found.columns if not column.startswith("ms_")]
    return found[columns].sort_values(["image_id", "edit"]).reset_index(drop=True)


def pictures(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.glob("images/**/*.png")}


def same(run: Path, whole: Path) -> None:
    pd.testing.assert_frame_equal(rows(run), rows(whole))
    assert pictures(run) == pictures(whole)


def commits(run: Path) -> int:
    return len(list(run.glob("metrics/**/*.parquet")))


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Worker processes below a process, the oldest first."""
    found = []
    for child in process.children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return sorted(found, key=psutil.Process.create_time)


@contextmanager
def meanwhile(condition: Callable[[], object], action: Callable[[], None]) -> Iterator[None]:
    """Beside the block: wait for the condition, then act; what goes wrong there is raised here."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            until = time.monotonic() + 200
            while not condition():
                assert time.monotonic() < until, "it never came to that"
                time.sleep(0.02)
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    if errors:
        raise errors[0]


def killed(count: int) -> None:
    for worker in workers_of(psutil.Process())[:count]:
        os.kill(worker.pid, signal.SIGKILL)


def test_processes_do_the_same_as_one(tiny, images, whole, tmp_path):
    run = tmp_path / "run"
    summary: EditSummary = edit(params(tiny, images, run, TWO))
    assert (summary.rows, summary.failed) == (2 * COUNT, 0)
    same(run, whole)
    assert not workers_of(psutil.Process())


@pytest.mark.faults
@pytest.mark.parametrize("count", [1, 2])
def test_killed_workers_cost_their_shards_time(count, slow_workers, tiny, images, whole, tmp_path):
    run = tmp_path / "run"
    with meanwhile(lambda: commits(run) >= 2, lambda: killed(count)):
        summary: EditSummary = edit(params(tiny, images, run, TWO))
        assert commits(run) == SHARDS
    assert (summary.rows, summary.failed) == (2 * COUNT, 0)
    same(run, whole)


@pytest.mark.faults
def test_a_picture_that_kills_its_worker_is_a_failed_row(
    slow_workers, monkeypatch, tiny, images, whole, tmp_path
):
    run = tmp_path / "run"
    monkeypatch.setenv("TESTS_POISON", "p007.png")
    summary: EditSummary = edit(params(tiny, images, run, TWO))
    assert (summary.rows, summary.failed, summary.reasons) == (2 * COUNT, 2, "1 WorkerDied")
    ours, theirs = rows(run), rows(whole)
    lost = ours["image_id"] == "p007"
    assert (ours[lost]["error_class"] == "WorkerDied").all()
    pd.testing.assert_frame_equal(ours[~lost].convert_dtypes(), theirs[~lost].convert_dtypes())
    expected = {name: data for name, data in pictures(whole).items() if not name.endswith("p007.png")}
    assert pictures(run) == expected
    monkeypatch.delenv("TESTS_POISON")
    again: EditSummary = edit(params(tiny, images, run, retry_failed=True))
    assert (again.failed, again.shards_done_before) == (0, SHARDS - 1)
    same(run, whole)


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        arguments, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.faults
def test_a_scheduler_that_is_killed_is_one_line_and_the_run_goes_on_with_the_next(
    tiny, images, whole, tmp_path
):
    run, port = tmp_path / "run", free_port()
    address = f"tcp://127.0.0.1:{port}"
    runner = Runner(kind="dask", address=address)
    scheduler = [
        sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
    ]  # fmt: skip
    environment = {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_or_deadly",
        "TESTS_SECONDS": "0.25",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    supervisor = [command("styleclip"), "workers", "start", "--address", address, "--workers", "2"]
    with started(*scheduler) as first, started(*supervisor, **environment) as workers:
        beneath = psutil.Process(workers.pid)
        with meanwhile(lambda: commits(run) >= 2, first.kill):
            result = edit(params(tiny, images, run, runner), return_state=True).result(raise_on_failure=False)
        assert isinstance(result, RunFailed) and "scheduler" in str(result) and "\n" not in str(result)
        kept = commits(run)
        assert 2 <= kept < SHARDS
        with started(*scheduler):
            summary: EditSummary = edit(params(tiny, images, run, runner))
        assert summary.shards_done_before >= kept
        children = beneath.children(recursive=True)
        assert children
    wait_for(lambda: not any(child.is_running() for child in children), 30, "end of the workers")
    same(run, whole)


def test_no_scheduler_is_one_line(tiny, images, tmp_path):
    runner = Runner(kind="dask", address=f"tcp://127.0.0.1:{free_port()}")
    state = edit(params(tiny, images, tmp_path / "run", runner), return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, RunnerError) and "dask scheduler" in str(error)


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_worker_behind(how, tiny, images, whole, tmp_path):
    run = tmp_path / "run"
    environment = {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_or_deadly",
        "TESTS_SECONDS": "0.5",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    arguments = ["edit", str(images), "-o", str(run), "-b", tiny, "-t", "a face with red hair", "-a", "2,4"]
    arguments += ["--channels", "5", "--shard-size", "2", "--batch", "1", "--device", "cpu"]
    arguments += ["--runner", "processes", "--workers", "2"]
    process = subprocess.Popen(
        [command("styleclip"), *arguments],
        env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: commits(run) >= 2, 200, "two commits")
        workers = workers_of(psutil.Process(process.pid))
        assert len(workers) == 2
        process.send_signal(how)
        status = process.wait(60)
    finally:
        process.kill()
    assert status == (-signal.SIGKILL if how == signal.SIGKILL else 1)
    wait_for(lambda: not any(worker.is_running() for worker in workers), 20, "end of the workers")
    assert commits(run) < SHARDS
    summary: EditSummary = edit(params(tiny, images, run))
    assert summary.shards_done_before >= 2
    same(run, whole)
