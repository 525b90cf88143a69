"""Local files that a crash leaves whole or absent, loss of power included, and what killed writers have left."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp|.*\.[0-9a-f]{32}\.partial")
"""Ours, and those of Zarr."""
_LEFT_OVER = 3600.0
"""Seconds after which nobody still writes to a temporary file: whoever made it was killed."""


def _beside(target: Path) -> Path:
    # A name of its own per writer: two attempts at one file never share a temporary one.
    return target.with_name(f".{uuid.uuid4().hex}.tmp")


@contextmanager
def temporary(target: Path, data: bytes) -> Iterator[Path]:
    """A file beside `target` that holds `data`, on the disk: for a rename. Gone at the end of the block."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = _beside(target)
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def link(temporary: Path, target: Path) -> None:
    """A rename that raises FileExistsError when the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems know no links; between these two lines another writer could come, and only there.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.replace(temporary, target)


def settle(path: Path) -> None:
    """Wait until a file and its name are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    settle_folder(path.parent)


def settle_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise  # some network file systems cannot do it for folders
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to make and fill, which gets its name `target` at the end of the block; left as it is when that is
    taken by a folder with something in it, because another process was faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, deep=False)
    place = _beside(target)
    try:
        yield place
        try:
            place.replace(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        settle_folder(target.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sweep(root: Path, *, deep: bool = True, older: float = _LEFT_OVER) -> None:
    """Remove what killed writers have left in a folder, and below it when `deep`: temporary files that nobody has
    written to for `older` seconds.

    What cannot be removed stays: it is in nobody's way.
    """
    before = time.time() - older
    for folder, folders, files in os.walk(root):
        for name in filter(_TEMPORARY.fullmatch, [*folders, *files]):
            path = Path(folder, name)
            try:
                if path.stat().st_mtime > before:
                    continue
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError:
                continue
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
