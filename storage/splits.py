"""Splits of a dataset: shares in words, and the split that an image belongs to by its id alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from storage.errors import StorageError


def shares(split: str) -> dict[str, float]:
    """ "train=0.9,test=0.1" → shares that add up to 1. Raises StorageError for anything else."""
    found: dict[str, float] = {}
    for part in split.split(","):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not (name.isidentifier() and name.isascii()) or name in found or not 0 < value <= 1:
            raise StorageError(f"split '{split}' is not understood: write for example train=0.9,test=0.1")
        found[name] = value
    if abs(sum(found.values()) - 1) > 1e-6:
        raise StorageError(f"the shares of split '{split}' add up to {sum(found.values()):g}, not to 1")
    return found


def split_of(image: str, parts: Mapping[str, float]) -> str:
    """The split of an image, by a hash of its id: the same in every export, whatever else is in it."""
    place = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8], "big") / 2**64
    for name, share in parts.items():
        if place < share:
            return name
        place -= share
    return list(parts)[-1]
