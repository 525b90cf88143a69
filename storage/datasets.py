"""Folders of images as a sorted list with safe, unique ids."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from storage import uris
from storage.errors import StorageError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_ID = 120
_HASH_DIGITS = 8


@dataclass(frozen=True)
class ImageRef:
    """One image of a dataset: `id` is unique and safe as a file name, `path` is where the file is."""

    id: str
    path: str


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder, sorted by path, and how many other files were passed over."""

    images: tuple[ImageRef, ...]
    skipped: int


def safe_ids(relative: Sequence[str]) -> list[str]:
    """An id for each of these different relative paths: the path without its ending, "/" written "__".

    Ids are ASCII, at most 140 characters, begin with a letter, digit or "_", end with no dot, and differ even where
    case does not count, so that they can be file names anywhere. Where the path does not make such an id, or two
    paths make the same one ("a.png" and "a.jpg"), part of the path's hash is added; the other ids stay readable.
    """
    bare = [str(PurePosixPath(name).with_suffix("")).replace("/", "__") for name in relative]
    plain = [_plain(name) for name in bare]
    # Lower case, because some file systems cannot tell "A" from "a".
    times = Counter(name.lower() for name in plain)
    readable = [name == full and times[name.lower()] == 1 for name, full in zip(plain, bare, strict=True)]
    taken = {name.lower() for name, good in zip(plain, readable, strict=True) if good}
    ids = []
    for name, good, path in zip(plain, readable, relative, strict=True):
        if good:
            ids.append(name)
            continue
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
        digits = _HASH_DIGITS
        # A file may bear the very name that another one's hash makes.
        while (id_ := f"{name or 'image'}-{digest[:digits]}").lower() in taken:
            digits += 1
        taken.add(id_.lower())
        ids.append(id_)
    return ids


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
    names = uris.list_files(uri)
    found = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    skipped = len(names) - len(found)
    if not found:
        raise StorageError(f"image folder {uri} holds no PNG, JPEG or WebP file ({skipped} other files)")
    # Absolute, because the plan outlives the working directory.
    root = uri if uris.is_remote(uri) else str(uris.local_path(uri).absolute())
    return ImageFolder(
        tuple(ImageRef(id_, uris.join(root, name)) for id_, name in zip(safe_ids(found), found, strict=True)),
        skipped,
    )


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
        return "unreadable"
