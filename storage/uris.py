"""Paths that may be local or remote ("s3://bucket/key"), through fsspec."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from zarr.storage import FsspecStore, LocalStore

from storage.errors import StorageError


def is_remote(uri: str) -> bool:
    """True for "s3://…" and the like, false for local paths."""
    return "://" in uri and not uri.startswith("file://")


def join(uri: str, *parts: str) -> str:
    """Append path parts to a local path or URI."""
    return "/".join([uri.rstrip("/"), *parts])


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(file system, path on it). Raises StorageError when the protocol's driver is not installed."""
    try:
        return url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{uri}: no driver for this kind of path ({error}); for s3:// install the extra 's3'"
        ) from error


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def read_bytes(uri: str) -> bytes:
    """The whole file."""
    fs, path = filesystem(uri)
    return fs.cat_file(path)


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file so that it is either whole or absent: temporary name and rename, or one object put."""
    if is_remote(uri):
        fs, path = filesystem(uri)
        fs.pipe_file(path, data)
        return
    target = Path(uri.removeprefix("file://"))
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own per writer: two attempts at one shard never share a temporary file.
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def zarr_store(uri: str) -> Any:
    """A Zarr store at a local path or URI."""
    if is_remote(uri):
        return FsspecStore.from_url(uri)
    return LocalStore(uri.removeprefix("file://"))
