"""What an edit run starts from: a folder of images, or a latents store whose images were inverted before."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import numpy as np

from storage import uris
from storage.datasets import ImageFolder, list_images
from storage.errors import Failure, StorageError
from storage.latents import LatentStore
from storage.plan import PlannedImage
from styleclip.bundles.load import Bundle
from styleclip.errors import AlignmentError, BundleError, EditError
from tasks.inputs.align import Landmarks, faces_in, landmarks_for
from tasks.inputs.decode import CHANGED, Decoded, decode, short_hash
from tasks.jobs import Align

NO_CODE = Failure("NoCode", "its inversion failed, so there is no code to edit")


def is_latents(uri: str) -> bool:
    """Whether `uri` is a latents store rather than a folder of images."""
    return LatentStore.exists(uri)


def list_folder(
    uri: str, align: Align, table: str | None, output: str
) -> tuple[ImageFolder, Landmarks | None]:
    """The images of a folder, which `output` must not lie in, and, where faces are aligned, their landmarks."""
    folder = list_images(uri, output)
    return folder, landmarks_for(align, table, uri, folder)


def finished_codes(uri: str, models: Bundle) -> LatentStore:
    """A latents store that is whole. Raises StorageError where it is not, BundleError for one of another generator."""
    store = LatentStore.open(uri)
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


def list_codes(
    uri: str, models: Bundle, align: Align, refine_steps: int, save_source: bool
) -> list[PlannedImage]:
    """The images of a latents store, with hashes of their codes.

    Raises StorageError for a store that is not finished, BundleError for one of another generator, AlignmentError and
    EditError for options that need the images themselves.
    """
    if align != "none":
        raise AlignmentError(f"{uri} holds latent codes: what is aligned is images, so choose align 'none'")
    if refine_steps:
        raise EditError(f"{uri} holds latent codes without images to refine them on: refine_steps must be 0")
    if save_source:
        raise EditError(f"{uri} holds latent codes, no images: there is no source to save")
    store = finished_codes(uri, models)
    ok, planned = store.ok, []
    for first in range(0, len(store.ids), store.shard_size):
        part = slice(first, first + store.shard_size)
        for id_, code, good in zip(store.ids[part], store.read(part), ok[part], strict=True):
            digest = short_hash(code.tobytes()) if good else "no code"
            planned.append(PlannedImage(id_, uri, digest))
    return planned


@functools.lru_cache(maxsize=2)
def _opened(uri: str, _stamp: object) -> LatentStore:
    # its marks of what is done are many small files, which every shard would read anew
    return LatentStore.open(uri)


def read_codes(uri: str, images: Sequence[PlannedImage]) -> Decoded:
    """The codes of these images, float32 [n, num_ws, w_dim], in the place of pictures."""
    begun = time.perf_counter()
    store = _opened(uri, uris.stamp_of(uris.join(uri, "zarr.json")))
    ok = dict(zip(store.ids, store.ok.tolist(), strict=True))
    with_code = [position for position, image in enumerate(images) if ok[image.id]]
    codes = store.read([images[position].id for position in with_code])
    failures = {position: NO_CODE for position, image in enumerate(images) if not ok[image.id]}
    same = [
        short_hash(code.tobytes()) == images[place].hash for place, code in zip(with_code, codes, strict=True)
    ]
    failures |= {position: CHANGED for position, good in zip(with_code, same, strict=True) if not good}
    positions = [position for position, good in zip(with_code, same, strict=True) if good]
    return Decoded(
        positions,
        codes[np.array(same, bool)],
        failures,
        1000 * (time.perf_counter() - begun) / max(len(images), 1),
    )


def read_inputs(uri: str, run: str, align: Align, images: Sequence[PlannedImage], models: Bundle) -> Decoded:
    """The pictures of these images in the generator's size, or their codes where `uri` is a latents store."""
    if is_latents(uri):
        return read_codes(uri, images)
    faces = faces_in(run, align, [image.id for image in images], models)
    return decode(
        [image.path for image in images], models.image_size, faces, [image.hash for image in images]
    )
