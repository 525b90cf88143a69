"""The limit on work that uses the device, with a real server."""

from __future__ import annotations

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from tasks.process.limits import LIMIT, device_limit, there_is_one

pytestmark = pytest.mark.usefixtures("prefect_server")


def slots() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(LIMIT).active_slots


@task
@device_limit()
def work(ask: bool) -> int:
    return slots() if ask else -1


@pytest.fixture(autouse=True)
def anew():
    there_is_one.cache_clear()
    yield
    there_is_one.cache_clear()


def test_a_task_takes_a_slot_where_there_is_a_limit_and_gives_it_back():
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(
            concurrency_limit=GlobalConcurrencyLimitCreate(name=LIMIT, limit=1)
        )
    try:
        assert flow(lambda: work(True))() == 1
        assert slots() == 0
    finally:
        with get_client(sync_client=True) as client:
            client.delete_global_concurrency_limit_by_name(LIMIT)


def test_without_a_limit_or_a_run_nothing_is_asked_for():
    assert flow(lambda: work(False))() == -1
    assert work.fn(False) == -1 and not there_is_one()
