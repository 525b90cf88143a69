"""What a site needs around its nights: a Prefect server, a work pool, the deployments, and runs that come back.

Imports Prefect: load it when the settings stand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.cli.running import COMMAND
from flows.cli.talk import CallError, Failed
from tasks.process.limits import LIMIT

POOL = "gpu"
DEPLOYED = "styleclip"
"""Tag of the deployments in prefect.yaml, and so of their runs."""
SILENCE = timedelta(seconds=90)
"""A run sends a heartbeat every 30 s; after this long without one nobody works on it any more."""
FINAL = ("Completed", "Failed", "Cancelled", "Crashed")
LIVE = (StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CRASHED, StateType.FAILED)


def automations() -> list[AutomationCore]:
    """Silent runs are called Crashed, and crashed runs of deployments are scheduled again.

    Two, because the actions of one are taken in no order. Runs of the command line stay Crashed: nobody but their
    caller can start them. How often a run comes back is bounded by the recipe itself (`flows.common.outcome`).
    """
    events = {f"prefect.flow-run.{name}" for name in ("heartbeat", *FINAL)}
    why = f"No sign of life for {SILENCE.total_seconds():.0f} s"

    def tagged(*tags: str) -> dict[str, str | list[str]]:
        """Runs of ours: other programs' may be silent for longer."""
        return {"prefect.resource.role": "tag", "prefect.resource.id": [f"prefect.tag.{tag}" for tag in tags]}

    return [
        AutomationCore(
            name="styleclip: silent runs are crashed",
            description=f"{why}: nobody works on the run.",
            trigger=EventTrigger(
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=tagged(DEPLOYED, COMMAND),
                after={"prefect.flow-run.heartbeat"},
                expect=events,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=why, force=False),
            ],
        ),
        AutomationCore(
            name="styleclip: crashed runs come back",
            description="A deployment's run that crashed is scheduled again, and goes on where it stopped.",
            trigger=EventTrigger(
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=tagged(DEPLOYED),
                expect={"prefect.flow-run.Crashed"},
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.SCHEDULED, name="AwaitingRetry", message="It crashed", force=False
                ),
            ],
        ),
    ]


def prefect(*arguments: str, **environment: str) -> None:
    """A command of Prefect's, without telemetry and with these variables. Raises Failed with its last words."""
    ours = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    quiet = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
    }
    result = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=ours | quiet | environment,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines() or ["it said nothing"]
        raise Failed(f"`prefect {' '.join(arguments)}` failed: {said[-1]}")


def set_up(server: str, gpus: int) -> None:
    """Pool, limit on the device, deployments and automation; whatever is there already is brought up to date."""
    if not Path("prefect.yaml").is_file():
        raise CallError("there is no prefect.yaml here: give the command in the project's folder")
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:  # one that is there may have been changed by its operator
            prefect("work-pool", "create", POOL, "--type", "process", PREFECT_API_URL=server)
        client.upsert_global_concurrency_limit_by_name(LIMIT, gpus)
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active=True))
        for wanted in automations():
            for old in client.read_automations_by_name(wanted.name):
                client.delete_automation(old.id)
            client.create_automation(wanted)
    prefect("--no-prompt", "deploy", "--all", PREFECT_API_URL=server)


@dataclass(frozen=True)
class Site:
    """What a server has: names of its deployments and automations, workers that are at hand, runs by their state."""

    version: str
    pool: bool
    workers: int
    limit: int | None
    slots: int
    deployments: list[str]
    automations: list[str]
    runs: dict[str, int]


def look() -> Site:
    """What the configured server has."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
            workers = client.read_workers_for_work_pool(POOL)
            pool = True
        except ObjectNotFound:
            workers, pool = [], False
        try:
            limit = client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            limit = None
        return Site(
            version=client.api_version(),
            pool=pool,
            workers=sum(str(worker.status).endswith("ONLINE") for worker in workers),
            limit=limit.limit if limit else None,
            slots=limit.active_slots if limit else 0,
            deployments=sorted(_deployments(client)),
            automations=[each.name for each in automations() if client.read_automations_by_name(each.name)],
            runs=_runs(client),
        )


def _deployments(client: SyncPrefectClient) -> list[str]:
    return [each.name for each in client.read_deployments(limit=200)]


def _runs(client: SyncPrefectClient) -> dict[str, int]:
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(LIVE)))),
        limit=200,
    )
    return dict(Counter(run.state_name or "" for run in found))
