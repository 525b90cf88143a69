"""How well two directions stores of one bundle agree."""

from __future__ import annotations

import numpy as np
from prefect import task

from tasks.process.models import directions, store_of


@task(name="compare stores")
def compare_stores(name: str, device: str, uri: str) -> dict[str, float]:
    """The store at `uri` against the one that the bundle ships, row by row.

    {channels, median_cosine, low_cosine (10th percentile), median_cosine_strong}: strong are the tenth of the channels
    that move pictures most, the ones that edits use.
    """
    shipped, own = directions(store_of(name, device, None), name, device), directions(uri, name, device)
    cosine = (shipped.directions * own.directions).sum(dim=1).cpu().numpy()
    strength = shipped.magnitude.norm(dim=1).cpu().numpy()
    strong = cosine[strength >= np.quantile(strength, 0.9)]
    return {
        "channels": len(cosine),
        "median_cosine": float(np.median(cosine)),
        "low_cosine": float(np.quantile(cosine, 0.1)),
        "median_cosine_strong": float(np.median(strong)),
    }
