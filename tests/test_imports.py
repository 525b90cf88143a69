"""The one import rule, held by import-linter; and the contracts can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-cache", "--config", folder / "pyproject.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_the_contracts_hold():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("storage", "import torch"),
        ("storage", "import styleclip"),
        ("styleclip", "import prefect"),
        ("styleclip", "import avatars"),
        ("tasks", "import flows"),
        ("flows", "import torch"),
        ("flows", "import avatars"),
        ("avatars", "import storage"),
    ],
)
def test_a_breach_is_found(tmp_path, where, line):
    for package in ("avatars", "flows", "storage", "styleclip", "tasks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(line + "\n" if package == where else "")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    result = lint(tmp_path)
    assert result.returncode != 0 and "BROKEN" in result.stdout, result.stdout + result.stderr
