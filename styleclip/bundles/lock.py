"""Files that must not change behind a user's back: their SHA-256 is recorded on first use, and held to ever after."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from styleclip.bundles.spec import BUILT_IN, BundleSpec
from styleclip.errors import BundleError

STATE_FOLDER = Path("~/.local/state/styleclip")


@dataclass(frozen=True)
class Locked:
    """A file as it was when it was first used."""

    path: str
    size: int
    sha256: str


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file: of its bytes once per process, and again when its size or time has changed.

    No process believes another one's hash: networks of one architecture have one size, and images of containers one
    time, so that both may be the same while the weights are others.
    """
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def state_folder() -> Path:
    """What the program remembers between commands: $STYLECLIP_STATE, or ~/.local/state/styleclip."""
    return Path(os.environ.get("STYLECLIP_STATE") or STATE_FOLDER).expanduser()


def lock_path(spec: BundleSpec) -> Path:
    """Where the hashes of a bundle are kept: in `state_folder`."""
    place = hashlib.sha256(str(spec.path.resolve()).encode()).hexdigest()[:8]
    return state_folder() / "locks" / f"{spec.name}-{place}.json"


def read_lock(spec: BundleSpec) -> dict[str, Locked]:
    """Role → file as recorded; empty before the first use. Raises BundleError when the record is damaged."""
    path = lock_path(spec)
    try:
        entries = json.loads(path.read_bytes()).items()
        # by name: records of earlier versions hold more
        return {role: Locked(entry["path"], entry["size"], entry["sha256"]) for role, entry in entries}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(
            f"{path}, which holds the hashes of bundle '{spec.name}', is damaged ({error}): delete it, "
            "and the files are recorded anew"
        ) from error


def forget_lock(spec: BundleSpec) -> None:
    """Let the files of a bundle be recorded anew."""
    lock_path(spec).unlink(missing_ok=True)


def hash_files(spec: BundleSpec) -> dict[str, Locked]:
    """Role → every file as it is now; extras that are not there are left out."""
    files = spec.files | {role: path for role, path in spec.extras.items() if path.is_file()}
    return {role: Locked(str(path), path.stat().st_size, file_sha256(path)) for role, path in files.items()}


def has_changed(before: Locked | None, now: Locked) -> bool:
    """Whether a file is not what it was when its bundle was first used; one of another path counts as new."""
    return before is not None and before.path == now.path and before.sha256 != now.sha256


def look_at_files(spec: BundleSpec) -> dict[str, Locked]:
    """`hash_files`; raises BundleError for a file that is not what it was when the bundle was first used."""
    known = read_lock(spec)
    found = hash_files(spec)
    for role, now in found.items():
        before = known.get(role)
        if before and has_changed(before, now):
            raise BundleError(
                f"{now.path} ({role} of bundle '{spec.name}') is not the file that was first used: its sha256 was "
                f"{before.sha256[:12]}…, is {now.sha256[:12]}…; if that is intended run "
                f"`styleclip bundle check {spec.name if spec.path.parent == BUILT_IN else spec.path} --accept`"
            )
    return found


def record_files(spec: BundleSpec, found: Mapping[str, Locked]) -> None:
    """Remember the files of a bundle that has proved to be usable.

    The embedded bundle is not recorded: its files come with the installed version.
    """
    if not _comes_with_us(spec) and found != read_lock(spec):
        _write(lock_path(spec), found)


def _comes_with_us(spec: BundleSpec) -> bool:
    return spec.path.parent == BUILT_IN and not spec.origins


def _write(path: Path, entries: Mapping[str, Locked]) -> None:
    """Whole or not at all; a folder that cannot be written leaves the bundle usable, unrecorded."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({role: asdict(each) for role, each in entries.items()}, indent=1))
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
