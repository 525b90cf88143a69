"""Models and directions, loaded once per process and shared by its tasks."""

from __future__ import annotations

import functools
import hashlib
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from storage import uris
from storage.directions import DirectionStore
from styleclip.bundles.load import Bundle, load_bundle, read_bundle
from styleclip.errors import BundleError

_LOADING = threading.Lock()


@dataclass(frozen=True)
class ChannelDirections:
    """A finished directions store in memory.

    directions float32 [C, D], std float32 [C], magnitude float32 [C, D] (mean unnormalised differences), all on
    the device of the bundle; `fingerprint` is the sha256 of all their bytes.
    """

    uri: str
    directions: Tensor
    std: Tensor
    magnitude: Tensor
    fingerprint: str


def bundle(name: str, device: str = "auto") -> Bundle:
    """The bundle `name` on `device`; the same object at every call in this process while its files stay as they are."""
    spec = read_bundle(name)
    files = (spec.path, *spec.files.values())
    stamps = tuple(uris.stamp_of(str(path)) if path.is_file() else None for path in files)
    with _LOADING:
        return _bundle(name, device, stamps)


def directions(uri: str, name: str, device: str = "auto") -> ChannelDirections:
    """The finished directions at `uri`, checked to fit the bundle `name`; read again when they change."""
    models = bundle(name, device)
    place = uris.join(uri, "zarr.json")
    stamp = uris.stamp_of(place) if uris.exists(place) else None
    with _LOADING:
        return _directions(uri, stamp, models)


def store_of(name: str, device: str, uri: str | None) -> str:
    """The directions store to use: `uri`, or the one that the bundle ships. Raises BundleError when there is none."""
    found = uri or bundle(name, device).directions
    if not found:
        raise BundleError(
            f"bundle '{name}' ships no channel directions: make them with "
            f"`styleclip precompute --bundle {name} --output FILE.zarr`, then pass --directions FILE.zarr"
        )
    return str(found)


@functools.lru_cache(maxsize=4)
def _bundle(name: str, device: str, _stamps: object) -> Bundle:
    return load_bundle(name, device=device)


@functools.lru_cache(maxsize=4)
def _directions(uri: str, _stamp: object, models: Bundle) -> ChannelDirections:
    store = DirectionStore.open(uri)
    rows = store.directions()
    expected = (models.generator.layout.conv_count, models.clip.dim)
    if rows.shape != expected:
        raise BundleError(
            f"{uri} holds directions of shape {rows.shape}, bundle '{models.name}' needs {expected}: "
            "they belong to another generator or CLIP; make them with `styleclip precompute`"
        )
    arrays = rows, store.std, store.magnitude()
    whole, std, magnitude = (torch.from_numpy(each).to(models.device) for each in arrays)
    digest = hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()
    return ChannelDirections(uri, whole, std, magnitude, digest)
