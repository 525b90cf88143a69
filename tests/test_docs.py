"""Every `styleclip` command in the README and the docs has a verb and options that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?:^|`)styleclip ([^`\n#]+)", re.MULTILINE)


def wrong_in(text: str) -> list[str]:
    """What is wrong with the commands of a page: unknown verbs and unknown options."""
    wrong = []
    for found in COMMAND.finditer(text.replace("\\\n", " ")):
        words = found[1].split()
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if hasattr(command, "commands"):
            wrong.append(f"no verb: {found[0]}")
            continue
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        outside_quotes = re.sub(r"\"[^\"]*\"|'[^']*'", "", " ".join(words))
        wrong += [
            f"no option {word} of: {found[0]}"
            for word in re.findall(r"(?<!\S)--?[A-Za-z][a-z0-9-]*", outside_quotes)
            if word not in known | {"--help"}
        ]
    return wrong


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    assert wrong_in((ROOT / page).read_text()) == []


def test_a_wrong_command_would_be_noticed():
    assert wrong_in("run `styleclip edit photos/ --images x -o runs/a` now") == [
        "no option --images of: `styleclip edit photos/ --images x -o runs/a"
    ]
    assert wrong_in("styleclip bundle chekc ffhq\n") == ["no verb: styleclip bundle chekc ffhq"]
    assert wrong_in('styleclip edit a -o b -t "a --hat" \\\n  --alpha 2\n') == []
