"""What an edit run starts from: a folder of images, or a latents store whose images were inverted before."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa

from storage import uris
from storage.datasets import UNREADABLE, ImageFolder, content_hash, list_images
from storage.errors import Failure, StorageError
from storage.images import CHANGED
from storage.images_table import HASHED, images_table
from storage.latents import LatentStore
from storage.plan import PlannedImage, path_of
from storage.plan_table import with_faces
from styleclip.bundles.load import Bundle
from styleclip.errors import AlignmentError, BundleError, EditError
from tasks.inputs.align import faces_in, landmarks_for
from tasks.inputs.decode import Decoded, decode, short_hash
from tasks.jobs import Align, FolderJob

NO_CODE = Failure("NoCode", "its inversion failed, so there is no code to edit")
HASHERS = 8
"""Threads that read files for their hashes: reading waits for disks and networks, not for this processor."""


def is_latents(uri: str) -> bool:
    """Whether `uri` is a latents store rather than a folder of images."""
    return LatentStore.exists(uri)


def list_folder(uri: str, align: Align, table: str | None, output: str) -> tuple[ImageFolder, pa.Table]:
    """A folder of images, which `output` must not lie in, and its table with landmarks where faces are aligned by them.

    Raises StorageError for an empty folder or one without landmarks, AlignmentError for a table that nothing reads.
    """
    folder = list_images(uri, output)
    found = landmarks_for(align, table, uri, folder)
    if found is None:
        return folder, folder.table
    return folder, with_faces(folder.table, [found[id_] for id_ in folder.table["id"].to_pylist()])


def file_hashes(root: str, names: Sequence[bytes]) -> list[str]:
    """Hashes of the content of files below a folder."""
    with ThreadPoolExecutor(HASHERS) as pool:
        return list(pool.map(lambda name: content_hash(path_of(root, name)), names))


def finished_codes(uri: str, models: Bundle) -> LatentStore:
    """A latents store that is whole. Raises StorageError where it is not, BundleError for one of another generator."""
    store = opened(uri)
    if missing := store.missing_shards():
        raise StorageError(
            f"{uri} is not finished ({len(missing)} shards missing): run invert again to finish it"
        )
    generator = models.generator
    made_by = store.attrs.get("weights", {}).get("generator")
    if store.shape != (generator.num_ws, generator.w_dim) or made_by != models.fingerprint["generator"]:
        raise BundleError(
            f"{uri} holds codes {list(store.shape)} of another generator than that of bundle '{models.name}'"
        )
    return store


def list_codes(uri: str, models: Bundle, align: Align, refine_steps: int, save_source: bool) -> pa.Table:
    """The images of a latents store; the version of each is that of the file that holds its code.

    Raises StorageError for a store that is not finished, BundleError for one of another generator, AlignmentError and
    EditError for wishes that need the images themselves.
    """
    if align != "none":
        raise AlignmentError(f"{uri} holds latent codes: what is aligned is images, so choose align 'none'")
    if refine_steps:
        raise EditError(f"{uri} holds latent codes without images to refine them on: refine_steps must be 0")
    if save_source:
        raise EditError(f"{uri} holds latent codes, no images: there is no source to save")
    store = finished_codes(uri, models)
    return images_table(store.ids, [""] * len(store.ids), store.versions(store.ids))


def code_hashes(uri: str, ids: Sequence[str]) -> list[str]:
    """Hashes of the codes of these images, a shard's worth at a time."""
    store, found = opened(uri), []
    for first in range(0, len(ids), store.shard_size):
        codes, ok = store.codes_of(ids[first : first + store.shard_size])
        found += [_code_hash(code, good) for code, good in zip(codes, ok, strict=True)]
    return found


def _code_hash(code: np.ndarray, ok: bool) -> str:
    return short_hash(code.tobytes()) if ok else "no code"


def opened(uri: str) -> LatentStore:
    """The store at `uri`, opened once per process while it stays the same: its ids are long to read."""
    return _opened(uri, uris.stamp_of(uris.join(uri, "zarr.json")))


@functools.lru_cache(maxsize=2)
def _opened(uri: str, _stamp: object) -> LatentStore:
    return LatentStore.open(uri)


def read_codes(uri: str, images: Sequence[PlannedImage]) -> Decoded:
    """The codes of these images, float32 [n, num_ws, w_dim], in the place of pictures; reads their shards only."""
    begun = time.perf_counter()
    store = opened(uri)
    there = [place for place, image in enumerate(images) if image.id in store]
    ids = [images[place].id for place in there]
    codes, ok = store.codes_of(ids)
    hashes = ["no code"] * len(images)
    failures = {place: NO_CODE for place in range(len(images))}
    for place, code, good, version in zip(there, codes, ok, store.versions(ids), strict=True):
        hashes[place] = _code_hash(code, good)
        planned = images[place].version
        if planned != (HASHED + hashes[place] if planned.startswith(HASHED) else version):
            failures[place], hashes[place] = Failure("Changed", CHANGED), UNREADABLE
        elif good:
            del failures[place]
    sound = [row for row, place in enumerate(there) if place not in failures]
    return Decoded(
        [there[row] for row in sound],
        codes[sound],
        failures,
        hashes,
        1000 * (time.perf_counter() - begun) / max(len(images), 1),
    )


def read_inputs(uri: str, align: Align, images: Sequence[PlannedImage], models: Bundle) -> Decoded:
    """The pictures of these images in the generator's size, or their codes where `uri` is a latents store."""
    if is_latents(uri):
        return read_codes(uri, images)
    faces = faces_in(align, images, models)
    versions = [image.version for image in images]
    return decode([image.path for image in images], models.image_size, faces, versions)


def take_in(
    job: FolderJob,
    images: Sequence[PlannedImage],
    files: Sequence[PlannedImage],
    models: Bundle,
    lost: Mapping[int, Failure] | None,
) -> tuple[list[PlannedImage], Decoded]:
    """A shard's images with the hashes of their content, and what is in them.

    files: the images as they are known now (`storage.known.by_content`); lost: those, by position, that are not to be
    touched, and why.
    """
    lost = lost or {}
    kept = [position for position in range(len(images)) if position not in lost]
    found = read_inputs(job.images, job.align, [files[position] for position in kept], models)
    decoded = found.among(kept, lost)
    hashed = [replace(image, hash=digest) for image, digest in zip(images, decoded.hashes, strict=True)]
    return hashed, decoded
