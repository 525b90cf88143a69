"""The Slurm script and the Kubernetes manifest of the docs can be read, and call what exists."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import typer
import yaml

from flows.cli.main import app

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"


def known_options(words: list[str]) -> set[str]:
    """The options of the verb that a call begins with."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return {option for each in command.params for option in each.opts}


def test_the_slurm_script_is_bash():
    assert subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")]).returncode == 0
    calls = [
        line.replace("&", "").split("styleclip ", 1)[1].split()
        for line in (FOLDER / "slurm.sh").read_text().splitlines()
        if "styleclip " in line and not line.startswith("#")
    ]
    assert len(calls) == 2
    for words in calls:
        assert {word for word in words if word.startswith("--")} <= known_options(words), words


def test_the_manifest_names_what_it_uses():
    parts = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
    assert [part["kind"] for part in parts] == ["Service", "Deployment", "Deployment", "Job"]
    for part in parts[1:3]:
        labels = part["spec"]["template"]["metadata"]["labels"]
        assert part["spec"]["selector"]["matchLabels"] == labels
    assert parts[0]["spec"]["selector"] == parts[1]["spec"]["template"]["metadata"]["labels"]
    for part in parts[2:]:
        (container,) = part["spec"]["template"]["spec"]["containers"]
        words = container["args"]
        assert words[0] == "styleclip"
        assert {word for word in words if word.startswith("--")} <= known_options(words[1:])
        assert f"tcp://{parts[0]['metadata']['name']}:8786" in words
