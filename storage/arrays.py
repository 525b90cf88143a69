"""What the Zarr stores share: made once, written shard by shard, damage named by file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from storage import durable, uris
from storage.differences import compare, listed
from storage.errors import Damage, PlanMismatch, StorageError, StoreCorrupt, StoreExists


def attributes(uri: str) -> dict[str, Any] | None:
    """The attributes of the Zarr group at `uri`; None when there is no group."""
    try:
        found = json.loads(uris.read_bytes(uris.join(uri, "zarr.json")))
        return dict(found.get("attributes", {}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, AttributeError, TypeError) as error:
        raise StoreCorrupt(f"{uris.join(uri, 'zarr.json')} is no Zarr group ({error})") from error


def is_ready(uri: str) -> bool:
    """Whether a store is there whose making was not cut off."""
    return "schema_version" in (attributes(uri) or {})


@contextmanager
def new_group(uri: str, kind: str) -> Iterator[zarr.Group]:
    """An empty group for a store of this kind; the block makes its arrays and marks it with `make_ready`.

    On a disk the store is made beside its place and moved there when it is whole: of two processes that make one at
    once, one store stays, and nobody empties it. Object stores know no renames, so there it is made in its place. It
    is never made over anything: StorageError for a folder that is not empty, save, on an object store, one of the same
    kind that is half-made.
    """
    _check_free(uri, kind)
    with uris.explained(uri):
        if uris.is_remote(uri):
            yield zarr.open_group(uris.zarr_store(uri), mode="w", zarr_format=3, attributes={"kind": kind})
            return
        with durable.new_folder(uris.local_path(uri)) as place:
            yield zarr.open_group(
                uris.zarr_store(str(place)), mode="w", zarr_format=3, attributes={"kind": kind}
            )


def _check_free(uri: str, kind: str) -> None:
    if not uris.exists(uri):
        return
    if not uris.is_folder(uri):
        raise StorageError(f"{uri} is a file: choose another place for the {kind}")
    found = attributes(uri)
    if is_ready(uri):
        raise StoreExists(f"{uri} holds a finished store already: choose another place for the {kind}")
    if found is not None and found.get("kind") == kind:
        if uris.is_remote(uri):
            return
        raise StorageError(f"{uri} was cut off while it was made and holds nothing: delete it and run again")
    if uris.entries(uri):
        raise StorageError(f"{uri} is a folder with other files in it: choose another place for the {kind}")


def make_ready(group: zarr.Group, attrs: Mapping[str, Any], version: int) -> None:
    """Write the store's attributes, at once and last of all: a store without them was cut off."""
    group.attrs.update({**attrs, "schema_version": version})


def open_group(uri: str, kind: str, version: int, how: str, expected: Mapping[str, Any] | None) -> zarr.Group:
    """The store at `uri`; `how` says how to make one.

    Raises StorageError when there is none, StoreCorrupt when it is no store of this kind, PlanMismatch when one of
    the `expected` attributes is another.
    """
    found = attributes(uri)
    if found is None:
        if uris.exists(uri):
            raise StorageError(f"{uri} is not a {kind} store (it has no zarr.json); to make one: {how}")
        raise StorageError(f"no {kind} store at {uri}; to make one: {how}")
    if "schema_version" not in found and found.get("kind") in (None, kind):
        raise StoreCorrupt(
            f"{uri} was cut off while it was made, and nothing is lost; to make it again: {how}"
        )
    if found.get("kind", kind) != kind:
        raise StoreCorrupt(f"{uri} is a {found['kind']} store, not a {kind} store")
    if found["schema_version"] != version:
        raise StoreCorrupt(
            f"{uri} has schema version {found['schema_version']}, this program reads {version}; "
            f"to make a new one: {how}"
        )
    try:
        group = zarr.open_group(uris.zarr_store(uri), mode="r+")
    except (KeyError, ValueError, zarr.errors.BaseZarrError) as error:
        raise StoreCorrupt(f"{uri} is not a {kind} store ({error}); to make one: {how}") from error
    if expected is not None:
        differences = compare({key: found.get(key) for key in expected}, dict(expected))
        if differences:
            raise PlanMismatch(
                f"the {kind} store {uri} was made otherwise ({listed(differences)}): "
                "choose another output, or repeat the earlier call to continue it"
            )
    return group


def make_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    dims: tuple[str, ...],
    *,
    rows: int,
    chunk: int,
) -> zarr.Array:
    """An array of zeros in shards of `rows` along the first axis, in checksummed chunks of `chunk` rows.

    A shard holds whole chunks: where `rows` is no multiple of `chunk` the shard is one chunk.
    """
    chunk = chunk if rows % chunk == 0 else rows
    array = group.create_array(
        name,
        shape=shape,
        chunks=(chunk, *shape[1:]),
        shards=(rows, *shape[1:]) if rows > 1 else None,
        dtype=dtype,
        fill_value=0,
        # The default codec reads a flipped byte back without a word.
        compressors=[ZstdCodec(level=3, checksum=True)],
        dimension_names=dims,
    )
    return _keeping_zeros(array)


def get_array(uri: str, group: zarr.Group, name: str) -> zarr.Array:
    """An array of the store. Raises StoreCorrupt when it is not there."""
    try:
        array = group[name]
    except (KeyError, ValueError) as error:
        raise StoreCorrupt(
            f"{uri} lacks the array '{name}': restore it from a copy or make the store again"
        ) from error
    assert isinstance(array, zarr.Array)
    return _keeping_zeros(array)


def _keeping_zeros(array: zarr.Array) -> zarr.Array:
    # Zarr leaves out shards of zeros, and then nothing tells them from a file that got lost. The setting is not
    # stored with the array.
    return array.with_config({"write_empty_chunks": True})


def write_rows(uri: str, array: zarr.Array, rows: slice, values: Any) -> None:
    """Write whole shards of an array. On a disk they are there to stay when this returns, loss of power included."""
    array[rows] = np.asarray(values).astype(array.dtype)
    if uris.is_remote(uri):
        return  # object stores answer only when it is
    high = (array.shards or array.chunks)[0]
    for shard in range(rows.start // high, -(-rows.stop // high)):
        durable.settle(uris.local_path(shard_file(uri, array, shard)))


def read_rows(uri: str, array: zarr.Array, rows: slice | np.ndarray, written: bool = True) -> np.ndarray:
    """Rows of an array, by slice or by numbers; `written` says that all of them must have been written.

    Raises StoreCorrupt naming the damaged or missing file. Errors of the network pass, so that they are tried again.
    """
    try:
        values = np.asarray(array[rows] if isinstance(rows, slice) else array.oindex[rows])
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:  # codecs report damage in many ways
        part = _damaged(uri, array)
        why = " ".join(str(error).split())[:120]
        raise StoreCorrupt(
            f"{part} is damaged ({why}): restore it from a copy or make the store again"
        ) from error
    if written and len(values):
        numbers = np.arange(array.shape[0])[rows]
        high = (array.shards or array.chunks)[0]
        zero = ~values.reshape(len(values), -1).any(axis=1)
        for shard in np.unique(numbers[zero] // high):
            _check_present(shard_file(uri, array, int(shard)))
    return values


def key_of(array: zarr.Array, shard: int) -> str:
    """Where a shard is, below the folder of its array."""
    return str(array.metadata.encode_chunk_key((shard, *[0] * (array.ndim - 1))))


def shard_file(uri: str, array: zarr.Array, shard: int) -> str:
    """The file of a shard."""
    return uris.join(uri, array.basename or array.name.strip("/"), key_of(array, shard))


def damages(uri: str, array: zarr.Array, shards: Iterable[int], written: bool = True) -> list[Damage]:
    """What is wrong with the files of these shards; `written` says that all of them must be there."""
    found, high = [], (array.shards or array.chunks)[0]
    for shard in shards:
        file = shard_file(uri, array, shard)
        try:
            values = np.asarray(array[shard * high : (shard + 1) * high])
            if written and not values.any() and not _is_whole(file):
                found.append(Damage(file, "is missing or empty", shard))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # codecs report damage in many ways
            found.append(Damage(file, f"is damaged ({' '.join(str(error).split())[:120]})", shard))
    return found


def _check_present(file: str) -> None:
    """Zarr takes a missing or empty file for zeros; a shard that was written has neither."""
    if not _is_whole(file):
        raise StoreCorrupt(f"{file} is missing or empty: restore it from a copy or make the store again")


def _is_whole(file: str) -> bool:
    try:
        return uris.size_of(file) > 0
    except FileNotFoundError:
        return False


def _damaged(uri: str, array: zarr.Array) -> str:
    """The first file of the array that cannot be read, or the array's folder when it is not the files."""
    high = (array.shards or array.chunks)[0]
    for shard in range(-(-array.shape[0] // high)):
        try:
            array[shard * high : (shard + 1) * high]
        except Exception:
            file = shard_file(uri, array, shard)
            uris.size_of(file)  # trouble with the network shows here as what it is
            return file
    return uris.join(uri, array.basename or "")
