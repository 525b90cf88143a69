"""Who carries units out: lists of shards in one task, results in order, failures by name, parts that miss nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from pydantic import ValidationError

import flows.common.runners
from flows.common.outcome import RunFailed
from flows.common.progress import RunProgress
from flows.common.runners import carry_out, one_at_a_time
from flows.forms.runners import PART_PATTERN, Runner, RunnerError, share
from storage.errors import StorageError
from tasks.process.units import Sight, Unit, WorkerUnfit, arrive

SIGHT = Sight("1.0", (("clip", "abc"), ("generator", "def")), "run 1")


def work(job: str, item: int) -> str:
    """Fails where the job says so."""
    if str(item) in job.split():
        raise ValueError(f"no {item}\nat all")
    if f"wrong{item}" in job.split():
        raise StorageError("a wrong call")
    return f"done {item}"


UNIT = Unit(name="stub", noun="shard", work=work, sight=lambda _: SIGHT, missing=lambda _: [])


@flow(task_runner=one_at_a_time())
def recipe(job: str, count: int) -> list[str]:
    with RunProgress("stub-progress", "done", count) as progress:
        return carry_out(UNIT, job, range(count), Runner(), progress, "Again.")


@pytest.mark.usefixtures("prefect_server")
def test_shards_share_tasks_and_their_results_keep_their_order(monkeypatch):
    monkeypatch.setattr(flows.common.runners, "MOST_TASKS", 3)
    monkeypatch.setattr("tasks.process.retries.RETRY_SECONDS", 0.0)
    assert recipe("", 7) == [f"done {item}" for item in range(7)]
    with pytest.raises(
        RunFailed, match=r"^2 of 7 shards failed, the first with ValueError: no 1 at all; .* Again\.$"
    ):
        recipe("1 4", 7)
    with pytest.raises(StorageError, match="a wrong call"):
        recipe("wrong2", 7)


@given(st.integers(0, 200), st.integers(1, 20))
def test_parts_are_all_of_it_and_share_nothing(count, of):
    parts = [share(range(count), f"{which}/{of}") for which in range(1, of + 1)]
    assert sorted(number for part in parts for number in part) == list(range(count))
    assert share(range(count), None) == list(range(count))


def test_a_part_that_there_cannot_be():
    assert PART_PATTERN
    with pytest.raises(RunnerError, match="there are parts 1/8 to 8/8"):
        share([1], "9/8")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "here", "workers": 2},
        {"kind": "processes", "address": "tcp://a:1"},
        {"kind": "dask", "address": "a:1"},
        {"kind": "dask", "address": "tcp://a:1", "workers": 2},
        {"kind": "dask", "arguments": {"cores": 1}},
    ],
)
def test_runners_that_mean_nothing(fields):
    with pytest.raises(ValidationError):
        Runner(**fields)


def test_a_worker_that_sees_something_else_is_one_line():
    other = Sight("1.1", (("clip", "abc"), ("generator", "xyz")), "no plan in runs/a")
    with pytest.raises(WorkerUnfit) as caught:
        arrive(lambda _: other, "job", SIGHT)
    line = str(caught.value)
    assert "package 1.1 instead of 1.0" in line and "weights of generator" in line and "\n" not in line
    assert "no plan in runs/a" in line and "weights of clip" not in line
