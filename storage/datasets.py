"""Folders of images as a sorted list with safe, unique ids."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from storage import uris
from storage.errors import StorageError
from storage.images_table import HASHED, images_table

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
MAX_ID = 120
UNREADABLE = "unreadable"
"""What stands for the hash of a file that cannot be read."""
_HASH_DIGITS = 8


@dataclass(frozen=True)
class ImageRef:
    """One image of a dataset: `id` is unique and safe as a file name, `path` is where the file is."""

    id: str
    path: str


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder, sorted by path, and how many other files were passed over.

    table: `storage.plan_table.IMAGES`; root: what its names are relative to.
    """

    root: str
    table: pa.Table
    skipped: int

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """One object for each image: for folders that are small, or need more than a plan."""
        names = (name.decode("utf-8", "surrogateescape") for name in self.table["name"].to_pylist())
        ids = self.table["id"].to_pylist()
        return tuple(ImageRef(id_, uris.join(self.root, name)) for id_, name in zip(ids, names, strict=True))


def safe_ids(relative: Sequence[str]) -> list[str]:
    """An id for each of these different relative paths: the path without its ending, "/" written "__".

    Ids are ASCII, at most 140 characters, begin with a letter, digit or "_", end with no dot, and differ even where
    case does not count, so that they can be file names anywhere. Where the path does not make such an id, or two
    paths make the same one ("a.png" and "a.jpg"), part of the path's hash is added; the other ids stay readable.
    """
    # In Arrow, because a million names as objects of Python's are some hundred megabytes more.
    lower = pc.ascii_lower(pa.array([_plain(_bare(name)) for name in relative], pa.string()))
    counts = pc.value_counts(lower)
    # Lower case, because some file systems cannot tell "A" from "a".
    shared = set(counts.field(0).filter(pc.greater(counts.field(1), 1)).to_pylist())
    readable = [_readable(name, shared) for name in relative]
    # What has its own name keeps it, and takes it from hashed ones.
    taken = {id_.lower() for id_ in readable if id_} if None in readable else set()
    ids: list[str] = []
    for own, path in zip(readable, relative, strict=True):
        id_ = own or ""
        if own is None:
            digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
            digits = _HASH_DIGITS
            # A file may bear the very name that another one's hash makes.
            while (id_ := f"{_plain(_bare(path)) or 'image'}-{digest[:digits]}").lower() in taken:
                digits += 1
            taken.add(id_.lower())
        ids.append(id_)
    return ids


def _readable(path: str, shared: Collection[str]) -> str | None:
    """The id that a path has for its name alone, None where it needs part of its hash."""
    bare = _bare(path)
    return bare if bare and _plain(bare) == bare and bare.lower() not in shared else None


def _bare(path: str) -> str:
    stem, _, ending = path.rpartition(".")
    # By hand, because it is done a million times: as `PurePosixPath.with_suffix("")`.
    whole = not ending or "/" in ending or not stem or stem.endswith("/")
    return (path if whole else stem).replace("/", "__")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:MAX_ID].rstrip(".")


def list_images(uri: str, output: str | None = None) -> ImageFolder:
    """All PNG, JPEG and WebP files below a folder (by ending, any case), sorted by path.

    Links to folders are followed; names that begin with a dot are passed over. Files that are no images by name are
    counted in `skipped`; files that are images by name only are listed, and become failed rows. Raises StorageError
    when the folder does not exist, cannot be listed, or holds no image, and where `output`, the folder of the run,
    lies inside: the next attempt would find the run's own pictures and take them for new images.
    """
    if not uris.exists(uri):
        raise StorageError(f"image folder {uri} does not exist")
    if not uris.is_folder(uri):
        raise StorageError(f"{uri} is a file; give the folder that holds the images")
    if output is not None and _would_be_listed(output, uri):
        raise StorageError(
            f"output {output} lies inside the image folder {uri}, where its pictures would count as images when the "
            "run is continued: choose a folder outside of it"
        )
    listed = uris.list_versions(uri)
    # Names that begin with a dot are not listed, so that an ending is never all of a name.
    found = [each for each in listed if each[0].lower().endswith(EXTENSIONS)]
    skipped = len(listed) - len(found)
    del listed
    if not found:
        raise StorageError(f"image folder {uri} holds no PNG, JPEG or WebP file ({skipped} other files)")
    # Absolute, because the plan outlives the working directory.
    root = uri if uris.is_remote(uri) else str(uris.local_path(uri).absolute())
    names, versions = [name for name, _ in found], pa.array([version for _, version in found], pa.string())
    del found
    return ImageFolder(root, images_table(safe_ids(names), names, versions), skipped)


def _would_be_listed(inside: str, folder: str) -> bool:
    """Whether files of the folder `inside`, which need not be there yet, are listed with those of `folder`."""
    if uris.is_remote(inside) != uris.is_remote(folder):
        return False
    (fs, path), (other, root) = uris.filesystem(inside), uris.filesystem(folder)
    if fs.protocol != other.protocol:
        return False
    if not uris.is_remote(folder):
        path, root = os.path.realpath(path), os.path.realpath(root)
    parts, above = PurePosixPath(path).parts, PurePosixPath(root).parts
    below = parts[len(above) :]
    return parts[: len(above)] == above and not any(part.startswith(".") for part in below)


def content_hash(path: str) -> str:
    """First 16 hex digits of the file's sha256; "unreadable" when it cannot be read (it will be a failed row).

    Errors of the network pass, so that they are tried again.
    """
    try:
        return uris.sha256_of(path)[:16]
    except (ConnectionError, TimeoutError):
        raise
    except OSError:
        return UNREADABLE


def is_of_version(path: str, version: str) -> bool:
    """Whether a file is still what a plan knew; versions of the oldest plans are hashes of the content."""
    known = version.split("+")[0]
    if known.startswith(HASHED):
        return content_hash(path) == known.removeprefix(HASHED)
    try:
        return uris.look_at(path)[1] == known
    except (ConnectionError, TimeoutError):
        raise
    except OSError:
        return False
