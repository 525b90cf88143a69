"""How well two directions stores of one bundle agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from prefect import task

from tasks.process.models import directions, store_of


@dataclass(frozen=True)
class Agreement:
    """Cosines between the rows of two stores; strong: over the tenth of the channels that move pictures most, the ones
    that edits use; low: the 10th percentile."""

    channels: int
    median_cosine: float
    low_cosine: float
    median_cosine_strong: float


@task(name="compare stores")
def compare_stores(name: str, device: str, uri: str) -> Agreement:
    """The store at `uri` against the one that the bundle ships, row by row."""
    shipped, own = directions(store_of(name, device, None), name, device), directions(uri, name, device)
    cosine = (shipped.directions * own.directions).sum(dim=1).cpu().numpy()
    strength = shipped.magnitude.norm(dim=1).cpu().numpy()
    strong = cosine[strength >= np.quantile(strength, 0.9)]
    return Agreement(
        channels=len(cosine),
        median_cosine=float(np.median(cosine)),
        low_cosine=float(np.quantile(cosine, 0.1)),
        median_cosine_strong=float(np.median(strong)),
    )
