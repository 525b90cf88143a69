"""prefect.yaml and compose.yaml: every flow has a deployment whose parameters its form takes; versions are ours."""

from __future__ import annotations

import importlib
import typing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import prefect
import pytest
import yaml
from prefect import Flow

ROOT = Path(__file__).parents[1]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
NOT_DEPLOYED = {"demo"}


def flows() -> dict[str, Flow[..., Any]]:
    """Every flow of the project by its name."""
    found = {}
    for path in (ROOT / "flows").glob("[a-z]*.py"):
        for value in vars(importlib.import_module(f"flows.{path.stem}")).values():
            if isinstance(value, Flow):
                found[value.name] = value
    return found


def test_every_flow_has_a_deployment():
    assert {each["name"] for each in DEPLOYMENTS} == set(flows()) - NOT_DEPLOYED


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_fits_its_flow(deployment):
    path, name = deployment["entrypoint"].split(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert flow.name == deployment["name"]
    form = typing.get_type_hints(flow.fn)["params"]
    form(**deployment["parameters"]["params"])
    assert "wait" not in form.model_fields or deployment["parameters"]["params"]["wait"] is True
    assert deployment["version"] == version("styleclip-flows")
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert "styleclip" in deployment["tags"] and deployment["description"]
    assert all(schedule["active"] is False for schedule in deployment.get("schedules", []))


def test_the_servers_are_of_the_version_that_is_tested():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert compose["server"]["image"].startswith(f"prefecthq/prefect:{prefect.__version__}-")
    quiet = compose["server"]["environment"]
    assert (quiet["PREFECT_SERVER_ANALYTICS_ENABLED"], quiet["DO_NOT_TRACK"]) == ("false", "1")
