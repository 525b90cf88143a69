"""Models and directions, loaded once per process and shared by its tasks."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from storage import uris
from storage.directions import DirectionStore
from storage.errors import StorageError
from storage.numpy_files import read_file
from styleclip.bundles.load import Bundle, load_bundle, read_bundle
from styleclip.directions import ChannelDirections
from styleclip.directions.readings import sample_readings
from styleclip.errors import BundleError, StyleclipError
from styleclip.methods.face import Setting, local_file
from styleclip.precision import computing_in

_LOADING = threading.Lock()


def bundle(name: str, device: str = "auto") -> Bundle:
    """The bundle `name` on `device`; the same object at every call in this process while its files stay as they are."""
    spec = read_bundle(name)
    files = (spec.path, *spec.files.values())
    stamps = tuple(uris.stamp_of(str(path)) for path in files)
    with _LOADING:
        return _bundle(name, device, stamps)


def directions(uri: str, name: str, device: str = "auto") -> ChannelDirections:
    """The finished directions at `uri`, checked to fit the bundle `name`; read again when they change."""
    models = bundle(name, device)
    stamp = uris.stamp_of(uris.join(uri, "zarr.json"))
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
    return ChannelDirections.of(DirectionStore.open(uri), models)


def setting(name: str, device: str, uri: str | None) -> Setting:
    """What edits are compiled with: the bundle, the directions at `uri` or those that it ships, and files anywhere."""
    models = bundle(name, device)
    return Setting(
        models,
        lambda: directions(store_of(name, device, uri), name, device),
        mapper_file,
        lambda: readings(uri or models.directions, models),
    )


@functools.lru_cache(maxsize=4)
def readings(uri: str | Path | None, models: Bundle) -> Tensor:
    """Unit CLIP embeddings [N, D] of the generator's pictures: those that the store at `uri` keeps, or taken now.

    They are kept there from then on, if the store can be written.
    """
    store = DirectionStore.open(str(uri)) if uri else None
    if store is not None and (kept := store.readings) is not None:
        return torch.from_numpy(kept).to(models.device)
    with computing_in("float32"):
        taken = sample_readings(models.generator, models.clip, models.truncation_psi)
    if store is not None:
        with suppress(StorageError, ValueError):  # another run may have been faster
            store.keep_readings(taken.cpu().numpy())
    return taken


@contextmanager
def mapper_file(name: str) -> Iterator[Path]:
    """The local file of a mapper while the block runs: a path, or a copy of what a URI names.

    Raises EditError or StorageError when it is not there. Errors of the block that name the copy name the URI instead.
    """
    if not uris.is_remote(name):
        with local_file(str(uris.local_path(name))) as path:
            yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name.rsplit("/", 1)[-1])
        path.write_bytes(read_file(name))
        try:
            yield path
        except StyleclipError as error:
            raise type(error)(str(error).replace(str(path), name)) from error
