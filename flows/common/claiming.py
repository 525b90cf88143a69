"""One run at a time in an output folder, and none begins among what a killed one has left half written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from flows.common.dates import with_day
from flows.forms.runs import Claiming
from storage import durable, uris
from storage.claims import claimed
from storage.errors import StorageError

P = TypeVar("P", bound=Claiming)
R = TypeVar("R")

STILL_WRITTEN = 30.0
"""Seconds: a temporary file that was written to since may belong to somebody who only looks after the folder."""


def alone(recipe: Callable[[P], R]) -> Callable[[P], R]:
    """Let a recipe run while no other process works in its output: FolderTaken is raised, or waited for."""

    @functools.wraps(recipe)
    def wrapper(params: P) -> R:
        with alone_in(with_day(params.output), wait=params.wait, part=getattr(params, "part", None)):
            return recipe(params)

    return wrapper


@contextmanager
def alone_in(output: str, *, wait: bool = False, part: str | None = None) -> Iterator[None]:
    """Hold the claim on an output folder while the block runs; parts of one run work side by side.

    The claim stands in the run folder; beside a store, which is made with all that is in it.
    """
    place = output.rstrip("/")
    inside = not place.endswith(".zarr")
    folder = f"{place}/" if inside else f"{place}."
    uri = f"{folder}claim.json" if part is None else f"{folder}claim-{part.replace('/', '-of-')}.json"

    def rivals() -> list[str]:
        """Claims that exclude this one: of the whole run, and for the whole run those of its parts."""
        if part is not None:
            return [f"{folder}claim.json"]
        there = uris.entries(place) if inside and uris.exists(place) else []
        return [f"{folder}{name}" for name in there if name.startswith("claim-")]

    local = not uris.is_remote(place)
    if local and uris.local_path(place).is_file():
        raise StorageError(f"{place} is a file: choose another output")
    new = inside and local and not uris.exists(place)
    try:
        with claimed(uri, place, wait=wait, rivals=rivals) as held:
            if held and local and part is None:
                durable.sweep(uris.local_path(place), older=STILL_WRITTEN)
            yield
    finally:
        if new:  # a wrong call leaves no empty folder behind
            with suppress(OSError):
                uris.local_path(place).rmdir()
