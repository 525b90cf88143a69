"""Folders of images as a sorted list with safe, unique ids."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from storage import uris
from storage.errors import StorageError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_ID = 120


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


def _safe(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".").lstrip("-")
    return plain[:MAX_ID] or "image"


def _ids(relative: list[str]) -> list[str]:
    """Ids from relative paths without their endings ("sub/a.png" → "sub__a").

    Where characters had to be replaced, or two ids would be equal, part of a hash of the path is added.
    """
    wanted = [str(PurePosixPath(name).with_suffix("")).replace("/", "__") for name in relative]
    safe = [_safe(name) for name in wanted]
    # Lower case, because some file systems cannot tell "A" from "a".
    times = Counter(name.lower() for name in safe)
    return [
        f"{name}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
        if times[name.lower()] > 1 or name != before
        else name
        for name, before, path in zip(safe, wanted, relative, strict=True)
    ]


def list_images(uri: str) -> ImageFolder:
    """All PNG, JPEG and WebP files below a folder (by ending, any case), sorted; hidden files are passed over.

    Raises StorageError when the folder does not exist or holds no image.
    """
    fs, root = uris.filesystem(uri)
    if not fs.exists(root):
        raise StorageError(f"image folder {uri} does not exist")
    if not fs.isdir(root):
        raise StorageError(f"{uri} is a file; give the folder that holds the images")
    prefix = root.rstrip("/") + "/"
    found, skipped = [], 0
    for path in fs.find(root):
        relative = path[len(prefix) :] if path.startswith(prefix) else path.rsplit("/", 1)[-1]
        if any(part.startswith(".") for part in relative.split("/")):
            continue
        if PurePosixPath(relative).suffix.lower() in EXTENSIONS:
            found.append((relative, path))
        else:
            skipped += 1
    if not found:
        raise StorageError(f"image folder {uri} holds no PNG, JPEG or WebP file ({skipped} other files)")
    found.sort()
    ids = _ids([relative for relative, _ in found])
    unstrip = fs.unstrip_protocol if uris.is_remote(uri) else str
    return ImageFolder(
        tuple(ImageRef(id_, unstrip(path)) for id_, (_, path) in zip(ids, found, strict=True)), skipped
    )


def content_hash(path: str) -> str:
    """First 16 hex digits of the file's sha256; "unreadable" when it cannot be read (it will be a failed row)."""
    try:
        return hashlib.sha256(uris.read_bytes(path)).hexdigest()[:16]
    except OSError:
        return "unreadable"
