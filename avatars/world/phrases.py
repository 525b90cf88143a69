"""Words that nothing was tuned on: other phrasings, negations and combinations, and what they claim."""

from __future__ import annotations

from avatars.world.attributes import STATEMENT, Statement
from avatars.world.captions import prompt

PHRASES: dict[str, tuple[str, ...]] = {
    "a smiling person": ("smile",),
    "a sad avatar": ("frown",),
    "a bearded face": ("beard",),
    "a person wearing eyeglasses": ("glasses",),
    "a face with dark glasses": ("sunglasses",),
    "a person with bangs": ("fringe",),
    "an avatar with make-up": ("lipstick",),
    "a face with pale skin": ("light skin",),
    "a face with no lipstick": ("no lipstick",),
    "a face with no beard": ("no beard",),
    "a face with brown eyes": ("brown eyes",),
    "a face with red hair and glasses": ("red hair", "glasses"),
    "a smiling face with a hat and a blue background": ("smile", "hat", "blue background"),
    "a bald person with a beard": ("bald", "beard"),
    "a person with a frown, earrings and a green background": ("frown", "earrings", "green background"),
}
"""Target → the statements that all of it makes."""


def said(edit: str) -> tuple[str, tuple[Statement, ...]]:
    """Target words of an edit, by the name of a statement or as a phrase, and what they claim. Raises KeyError."""
    if edit in STATEMENT:
        return prompt(edit), (STATEMENT[edit],)
    return edit, tuple(STATEMENT[name] for name in PHRASES[edit])
