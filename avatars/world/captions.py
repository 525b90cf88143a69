"""The caption grammar: "a face with red hair, glasses and no beard"."""

from __future__ import annotations

import random
from collections.abc import Sequence

from avatars.world.attributes import STATEMENT, STATEMENTS

NEUTRAL = "a face"
SUBJECTS = ("a face", "a face", "a person", "an avatar")
TEMPLATES = ("{}", "a picture of {}", "a drawing of {}", "a portrait of {}")
"""Prompt ensemble of the avatars bundle: each prompt is embedded in every template and averaged."""

LENGTHS = (0.04, 0.36, 0.26, 0.18, 0.10, 0.06)
"""How often a caption says 0, 1, 2, … things."""
ADJECTIVE_SHARE, WEARING_SHARE = 0.35, 0.4


def sentence(phrases: Sequence[str], subject: str = NEUTRAL) -> str:
    """Join noun phrases: subject, "with", commas and a last "and"."""
    if not phrases:
        return subject
    head = ", ".join(phrases[:-1])
    return f"{subject} with {head} and {phrases[-1]}" if head else f"{subject} with {phrases[-1]}"


def prompt(statement: str) -> str:
    """The standard prompt of a statement, for example "a face with red hair"."""
    return sentence([STATEMENT[statement].phrases[0]])


def statement_of(target: str) -> str | None:
    """The name of the statement whose standard prompt is `target`; None for other words."""
    return next((name for name in STATEMENT if prompt(name) == target), None)


def _compose(said: Sequence[int], rng: random.Random) -> str:
    """Put statements into words: adjective before the subject, "wearing", or a list after "with"."""
    subject = rng.choice(SUBJECTS)
    rest = list(said)
    adjectives = [index for index in rest if STATEMENTS[index].adjective]
    if adjectives and rng.random() < ADJECTIVE_SHARE:
        chosen = rng.choice(adjectives)
        rest.remove(chosen)
        subject = f"a {STATEMENTS[chosen].adjective} {subject.split()[-1]}"
    text = sentence([rng.choice(STATEMENTS[index].phrases) for index in rest], subject)
    if rest and all(STATEMENTS[index].worn for index in rest) and rng.random() < WEARING_SHARE:
        text = text.replace(" with ", " wearing ", 1)
    return text


def write_caption(true: Sequence[bool], rng: random.Random) -> tuple[str, list[int]]:
    """One caption of an avatar of whom `true[i]` says whether statement i holds.

    Returns the text and the indices of the statements that it makes.
    """
    candidates = [index for index, holds in enumerate(true) if holds]
    count = min(len(candidates), rng.choices(range(len(LENGTHS)), LENGTHS)[0])
    # Weighted sampling without replacement (Efraimidis and Spirakis 2006): the largest keys u^(1/weight).
    keys = {index: rng.random() ** (1 / STATEMENTS[index].common) for index in candidates}
    said = sorted(candidates, key=lambda index: -keys[index])[:count]
    return rng.choice(TEMPLATES).format(_compose(said, rng)), said


def every_word() -> list[str]:
    """Texts that together contain every word of the grammar: the vocabulary of the avatars CLIP."""
    phrases = [phrase for statement in STATEMENTS for phrase in statement.phrases]
    adjectives = [f"a {statement.adjective} face wearing" for statement in STATEMENTS if statement.adjective]
    lists = [sentence([phrase, phrase, phrase], subject) for phrase in phrases for subject in SUBJECTS]
    return [*adjectives, *(template.format(NEUTRAL) for template in TEMPLATES), *lists]
