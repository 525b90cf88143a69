"""One run at a time in an output folder, and none begins among what a killed one has left half written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from flows.common.dates import with_day
from flows.forms.runs import Claiming
from storage import durable, uris
from storage.claims import claimed

P = TypeVar("P", bound=Claiming)
R = TypeVar("R")

STILL_WRITTEN = 30.0
"""Seconds: a temporary file that was written to since may belong to somebody who only looks after the folder."""


def alone(recipe: Callable[[P], R]) -> Callable[[P], R]:
    """Let a recipe run while no other process works in its output: FolderTaken is raised, or waited for.

    The claim stands in the run folder; beside a store, which is made with all that is in it.
    """

    @functools.wraps(recipe)
    def wrapper(params: P) -> R:
        place = with_day(params.output).rstrip("/")
        inside = not place.endswith(".zarr")
        uri = uris.join(place, "claim.json") if inside else f"{place}.claim.json"
        local = not uris.is_remote(place)
        new = inside and local and not uris.exists(place)
        try:
            with claimed(uri, place, wait=params.wait) as held:
                if held and local:
                    durable.sweep(uris.local_path(place), older=STILL_WRITTEN)
                return recipe(params)
        finally:
            if new:  # a wrong call leaves no empty folder behind
                with suppress(OSError):
                    uris.local_path(place).rmdir()

    return wrapper
