"""Paths that may be local or remote ("s3://bucket/key"), through fsspec."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.core import url_to_fs
from zarr.storage import FsspecStore, LocalStore

from storage import durable
from storage.errors import DiskFull, StorageError

# A colon alone makes no URI: local folders may be called "a::b" or "12:30".
_PROTOCOL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Other processes write to the same folders, so a remembered listing is a wrong one.
_OPTIONS = {"use_listings_cache": False}
_HOPELESS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EDQUOT}
    | {errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
)
_PIECE = 1 << 20
_SECRET = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def is_remote(uri: str) -> bool:
    """True for "s3://…" and the like, false for local paths and "file://…"."""
    return _PROTOCOL.match(uri) is not None and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """The path of a local URI, with a leading "~/" resolved."""
    path = Path(uri.removeprefix("file://"))
    return path.expanduser() if path.parts[:1] == ("~",) else path


def join(uri: str, *parts: str) -> str:
    """Append path parts to a local path or URI. Raises StorageError for an empty one, which would mean the root."""
    if not uri.strip():
        raise StorageError("a folder's name is empty: is a variable of the script empty?")
    return "/".join([uri.rstrip("/"), *parts])


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(file system, path on it). Raises StorageError when the protocol's driver is not installed."""
    if not is_remote(uri):
        return fsspec.filesystem("file"), str(local_path(uri).absolute())
    refuse_secret(uri)
    try:
        return url_to_fs(uri, **_OPTIONS)
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{uri}: no driver for this kind of path ({error}); for s3:// install the extra 's3'"
        ) from error


def refuse_secret(uri: str) -> None:
    """Raise StorageError for a URI with a password: URIs are written into plans, metrics and Prefect's database."""
    if is_remote(uri) and _SECRET.search(uri):
        kind = uri.split("://")[0].rsplit("::", 1)[-1]
        raise StorageError(
            f"{_SECRET.sub(r'***@', uri)} holds a password, which every record of the run would show: leave it out and "
            f"set FSSPEC_{kind.upper()}_USERNAME and FSSPEC_{kind.upper()}_PASSWORD instead"
        )


def printable(text: str) -> str:
    """Text that any file can hold: bytes of a file name that are no UTF-8 are written as escapes, "\\udcff"."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def stamp_of(uri: str) -> object:
    """What changes whenever a file is written again; None for no file. Where that cannot be told it is another one at
    every call, so that nothing is kept that may have changed."""
    try:
        if not is_remote(uri):
            found = local_path(uri).stat()
            return found.st_ino, found.st_size, found.st_mtime_ns
        fs, path = filesystem(uri)
        info = fs.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    version = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("created")
    return object() if version is None else (info["size"], str(version))


def look_at(uri: str) -> tuple[int, str]:
    """(bytes, version) of a file, with one request; the version changes whenever the file is written again.

    It is the size and the time of the last change, or on object stores the ETag; as `list_versions` gives it. Raises
    OSError as `size_of`.
    """
    if is_remote(uri):
        fs, path = filesystem(uri)
        info = fs.info(path)
        return int(info["size"]), _version(info)
    found = _regular(uri)
    return found.st_size, f"{found.st_size}-{found.st_mtime_ns}"


def _version(info: dict[str, Any]) -> str:
    stamps = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created"))
    return f"{info['size']}-{next((str(stamp) for stamp in stamps if stamp), '')}".replace('"', "")


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    if not is_remote(uri):
        return local_path(uri).exists()
    fs, path = filesystem(uri)
    return bool(fs.exists(path))


def is_folder(uri: str) -> bool:
    """Whether a folder is there; on object stores, whether a key begins with this path."""
    if not is_remote(uri):
        return local_path(uri).is_dir()
    fs, path = filesystem(uri)
    return bool(fs.isdir(path))


def size_of(uri: str) -> int:
    """Bytes of a file. Raises OSError when there is none, or when it is a pipe or device, which would never end."""
    if is_remote(uri):
        fs, path = filesystem(uri)
        return int(fs.info(path)["size"])
    return _regular(uri).st_size


def _regular(uri: str) -> os.stat_result:
    found = local_path(uri).stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), uri)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", uri)
    return found


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises OSError (FileNotFoundError, …) when it cannot be read."""
    if not is_remote(uri):
        size_of(uri)
        return local_path(uri).read_bytes()
    fs, path = filesystem(uri)
    return fs.cat_file(path)


def sha256_of(uri: str) -> str:
    """sha256 of a file of any size, in hexadecimal. Raises OSError when it cannot be read."""
    size_of(uri)
    fs, path = filesystem(uri)
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn an OSError that no second attempt can cure into one line about `uri`; others pass, to be tried again."""
    try:
        yield
    except OSError as error:
        missing_bucket = is_remote(uri) and isinstance(error, FileNotFoundError)
        if error.errno not in _HOPELESS and not isinstance(error, PermissionError) and not missing_bucket:
            raise
        what = f"{uri} cannot be written ({error.strerror or error})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{what}: free some space and run again") from error
        raise StorageError(f"{what}: choose another place, or mend its permissions") from error


def write_bytes(uri: str, data: bytes, *, commit: bool = False) -> None:
    """Write a file so that it is either whole or absent: temporary name and rename, or one object put.

    Its bytes are on the disk before its name is. `commit`: when this returns the name is there to stay, too, loss of
    power included; for files by whose presence other work counts as done.

    Raises StorageError when the place can never be written (permissions, full disk, a file where a folder must be).
    """
    with explained(uri):
        if is_remote(uri):
            fs, path = filesystem(uri)
            fs.pipe_file(path, data)
            return
        target = local_path(uri)
        with durable.temporary(target, data) as temporary:
            os.replace(temporary, target)
        if commit:
            durable.settle_folder(target.parent)


@contextmanager
def new_file(uri: str) -> Iterator[BinaryIO]:
    """A file to write piece by piece, for what is too large for the memory; it gets its name at the end of the block.

    When the block raises there is no file. On object stores it is written on this machine first. Raises StorageError
    when the place can never be written.
    """
    with explained(uri):
        if is_remote(uri):
            fs, path = filesystem(uri)
            with tempfile.NamedTemporaryFile() as near:
                yield near  # type: ignore[misc]
                near.flush()
                fs.put_file(near.name, path)
            return
        target = local_path(uri)
        with durable.temporary(target, b"") as temporary:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        durable.settle_folder(target.parent)


def remove(uri: str) -> None:
    """Remove a file; nothing happens when there is none."""
    with explained(uri):
        try:
            if is_remote(uri):
                fs, path = filesystem(uri)
                fs.rm_file(path)
            else:
                local_path(uri).unlink()
        except FileNotFoundError:
            pass


def write_new(uri: str, data: bytes) -> bool:
    """Like a commit by `write_bytes`, but never over an existing file: of several writers one gets True."""
    with explained(uri):
        try:
            if is_remote(uri):
                fs, path = filesystem(uri)
                fs.pipe_file(path, data, mode="create")
                return True
            target = local_path(uri)
            with durable.temporary(target, data) as temporary:
                durable.link(temporary, target)
            durable.settle_folder(target.parent)
            return True
        except FileExistsError:
            # mkdir raises it as well, when a file stands where a folder must be
            if not is_remote(uri) and not target.exists():
                raise
            return False


def entries(uri: str) -> list[str]:
    """Names of everything directly inside a folder, those that begin with a dot as well."""
    if not is_remote(uri):
        return sorted(os.listdir(local_path(uri)))
    fs, path = filesystem(uri)
    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in fs.ls(path, detail=False))


def list_files(uri: str) -> list[str]:
    """Paths, relative to the folder `uri`, of all files below it, sorted; names that begin with a dot are left out.

    Links to folders are followed, and each folder is listed once however many links lead to it. Raises StorageError
    when a folder cannot be listed.
    """
    return sorted(name for name, _ in _found(uri, versions=False))


def list_versions(uri: str) -> list[tuple[str, str]]:
    """As `list_files`, with the version of each file (see `look_at`); what cannot be looked at is of version "0-"."""
    return sorted(_found(uri, versions=True))


def _found(uri: str, versions: bool) -> Iterator[tuple[str, str]]:
    if not is_remote(uri):
        for name, entry in _walk(local_path(uri)):
            yield name, _version_of(entry) if versions else ""
        return
    fs, root = filesystem(uri)
    prefix = root.rstrip("/") + "/"
    for path, info in fs.find(root, detail=True).items():
        name = path[len(prefix) :]
        if path.startswith(prefix) and not any(part.startswith(".") for part in name.split("/")):
            yield name, _version(info) if versions else ""


def _version_of(entry: os.DirEntry[str]) -> str:
    try:
        found = entry.stat()
    except OSError:
        return "0-"
    return f"{found.st_size}-{found.st_mtime_ns}"


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    # Links wait until all real folders are listed, so that files keep their real names.
    folders, links = deque([""]), deque[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        folder = (folders or links).popleft()
        try:
            where = os.stat(root / folder)
            if (where.st_dev, where.st_ino) in seen:
                continue
            seen.add((where.st_dev, where.st_ino))
            with os.scandir(root / folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise StorageError(
                f"folder {root / folder} cannot be listed ({error.strerror}): mend its permissions or move it away"
            ) from error
        for entry in inside:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(name)
            else:
                yield name, entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # a link to itself, or into a folder that is closed: whoever reads it as a file will say so
        return False


def zarr_store(uri: str) -> Any:
    """A Zarr store at a local path or URI. Raises StorageError when the protocol's driver is not installed."""
    if not is_remote(uri):
        return LocalStore(local_path(uri))
    filesystem(uri)  # says what to install, where Zarr would not
    return FsspecStore.from_url(uri, storage_options=dict(_OPTIONS))
