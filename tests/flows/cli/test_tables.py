"""Tables at 80 columns: every figure is whole."""

from __future__ import annotations

import pytest

from flows.cli.talk import Voice

COLUMNS = [
    "edit",
    "alpha",
    "channels",
    "λ_L2",
    "λ_ID",
    "n",
    "CLIP gain",
    "direction",
    "identity",
    "pixels",
    "clipped",
]
FIGURES = ["4.123", "20", "0.008", "0.005", "100000", "0.123", "0.234", "0.912", "0.0345", "0.001"]
WORDS = "a face of an embedded world that is drawn by rules and needs no network to be there at all"


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) <= 80 and not any("…" in line for line in said), said
    return said


@pytest.mark.parametrize("name", ["red", "a-smiling-face-with-red-hair-and-a-name-that-never-ends"])
def test_figures_are_whole(capsys, name):
    Voice(False).table("Edits", COLUMNS, [[name, *FIGURES]])
    words = " ".join(lines(capsys)).split()
    assert set(FIGURES) <= set(words)
    assert {word for heading in COLUMNS for word in heading.split()} <= set(words)


def test_long_words_fold(capsys):
    Voice(False).table("Bundles", ["name", "what", "ready"], [["avatars", WORDS, "yes"]])
    said = "".join("".join(lines(capsys)).split())
    assert said.count("yes") == 1 and all(word in said for word in ("ready", "avatars", "rules"))
