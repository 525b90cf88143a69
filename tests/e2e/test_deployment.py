"""What the README says: a server, a pool with deployments, a worker, a run; and a scheduled run that appears."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from tiny_bundle import write_pictures

from flows.forms.runs import EditParams
from storage import read_metrics

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))


def call(*arguments: str) -> str:
    """A prefect command, as a user types it in the project's folder."""
    result = subprocess.run([PREFECT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def ask(server: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The server's answer, as the pages of the UI get it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server}/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def deployed(prefect_server: str) -> str:
    call("work-pool", "create", "gpu", "--type", "process", "--overwrite")
    call("--no-prompt", "deploy", "--all")
    return prefect_server


@pytest.fixture
def worker(deployed: str, tmp_path: Path) -> Iterator[None]:
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(
            [PREFECT, "worker", "start", "--pool", "gpu", "--limit", "1"],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
        )
        yield
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()  # how fast Prefect's worker lets go on a busy machine is not what is tested
            process.wait(30)


def test_the_commands_of_this_test_are_the_ones_in_the_readme():
    section = (ROOT / "README.md").read_text().split("## On a schedule")[1]
    commands = [line.split("#")[0].strip() for line in section.splitlines() if line.startswith("prefect ")]
    assert commands[0] == "prefect worker start --pool gpu --limit 1"
    words = shlex.split(commands[1])
    assert words[:5] == ["prefect", "deployment", "run", "edit/edit", "--params"] and len(commands) == 2
    EditParams(**json.loads(words[5])["params"])


def test_the_deployments_are_described_and_their_schedules_paused(deployed):
    for name, tag in (("precompute", "precompute"), ("edit", "edit")):
        deployment = ask(deployed, f"deployments/name/{name}/{name}")
        assert deployment["work_pool_name"] == "gpu" and {"styleclip", tag} <= set(deployment["tags"])
        assert deployment["description"] and [s["active"] for s in deployment["schedules"]] == [False]
        fields = deployment["parameter_openapi_schema"]["definitions"][f"{name.title()}Params"]["properties"]
        assert all(field.get("description") for field in fields.values())


def test_a_run_from_the_command_line_completes(deployed, worker, tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    params = {
        "bundle": tiny,
        "device": "cpu",
        "images": str(images),
        "output": str(tmp_path / "{date}" / "run"),
        "edits": [{"name": "red", "target": "a face with red hair", "alpha": 4, "channels": 4}],
    }
    night = (
        "--start-at",
        "2026-03-01 23:30:00 -0500",
    )  # past, so it runs at once; in UTC that is the next day
    call("deployment", "run", "edit/edit", "--params", json.dumps({"params": params}), *night, "--watch")
    rows = read_metrics(str(tmp_path / "2026-03-02" / "run"))
    assert rows["status"].tolist() == ["ok"] * 3
    runs = ask(deployed, "flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Completed"]}}}})
    run = next(run for run in runs if run["parameters"].get("params", {}).get("output") == params["output"])
    artifacts = ask(deployed, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert {artifact["type"] for artifact in artifacts} == {"progress", "markdown", "table"}


def test_a_run_that_fails_says_why_in_one_line(deployed, tmp_path):
    """Run as a worker runs it, by the engine's own entry; the log is what the run's page shows."""
    deployment = ask(deployed, "deployments/name/edit/edit")
    params = {
        "images": str(tmp_path / "nowhere"),
        "output": str(tmp_path / "run"),
        "edits": [{"target": "a hat"}],
    }
    run = ask(
        deployed,
        f"deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"params": params}, "state": {"type": "PENDING"}},
    )
    ended = subprocess.run(
        [sys.executable, "-m", "prefect.engine", run["id"]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"},
    )
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    says = f"image folder {tmp_path}/nowhere does not exist"
    state = ask(deployed, f"flow_runs/{run['id']}")["state"]
    assert (state["type"], state["message"]) == ("FAILED", says)

    def log() -> Any:
        of_run = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
        messages = [line["message"] for line in ask(deployed, "logs/filter", of_run)]
        return messages if any(line.startswith("Finished in state Failed") for line in messages) else None

    messages = wait_for(log, 30, "log of the run")
    assert sum(says in message for message in messages) >= 1
    assert all("Traceback" not in message and "unexpected" not in message for message in messages), messages


def test_a_schedule_that_is_switched_on_makes_runs(deployed):
    deployment = ask(deployed, "deployments/name/precompute/precompute")
    (schedule,) = deployment["schedules"]
    call("deployment", "schedule", "resume", "precompute/precompute", schedule["id"])

    def scheduled() -> Any:
        return ask(
            deployed,
            "flow_runs/filter",
            {
                "flow_runs": {
                    "deployment_id": {"any_": [deployment["id"]]},
                    "state": {"type": {"any_": ["SCHEDULED"]}},
                }
            },
        )

    runs = wait_for(scheduled, 60, "scheduled run")
    assert all(run["auto_scheduled"] for run in runs)
    call("deployment", "schedule", "pause", "precompute/precompute", schedule["id"])
