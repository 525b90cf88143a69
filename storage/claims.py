"""Who works in a run folder: one process at a time, known by a small file that it keeps fresh.

A claim of a process that has ended is void: on the same machine at once, from elsewhere when it was not renewed for
`EXPIRY`. Of two processes that take over one void claim in the same second the later one gets it. Nothing is lost
should two work in one folder all the same: every file of a run is written whole, and the same by both.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from storage import uris
from storage.errors import DiskFull, FolderTaken, StorageError

RENEWED = 30.0
"""Seconds after which a claim is written again."""
EXPIRY = 300.0
"""Seconds after which a claim that was not renewed is void; more than the clocks of two machines differ by."""
SETTLED = 1.0
"""Seconds after which the taker of a void claim looks whether somebody else took it, too."""


def _machine() -> str:
    """Where process ids mean the same: this boot of this machine, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _began(pid: int) -> str:
    """When a process began, in its machine's own count; "" where that cannot be told. Numbers are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@dataclass(frozen=True)
class Claim:
    """A process that works in a folder: since when it does, and its last sign of life, both in seconds (Unix time)."""

    host: str
    machine: str
    pid: int
    began: str
    since: float
    alive: float
    token: str

    @classmethod
    def of_this_process(cls) -> Claim:
        """A new claim."""
        pid, now = os.getpid(), time.time()
        return cls(socket.gethostname(), _machine(), pid, _began(pid), now, now, uuid.uuid4().hex)

    @property
    def void(self) -> bool:
        """Whether nobody stands behind it any more."""
        if self.machine != _machine():
            return time.time() - self.alive > EXPIRY
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # somebody else's process is a process
        return self.began != _began(self.pid)

    def to_json(self) -> bytes:
        """Readable, for people as well."""
        return json.dumps(asdict(self), indent=1).encode()

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host} works there since {since}"


def holder_of(uri: str) -> Claim | None:
    """The claim that is written at `uri`; None where there is none, or nothing that can be read as one."""
    try:
        return Claim(**json.loads(uris.read_bytes(uri)))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def claimed(
    uri: str, place: str, *, wait: bool = False, rivals: Callable[[], Iterable[str]] = list
) -> Iterator[bool]:
    """Hold the claim at `uri` on a folder, `place`, while the block runs, and while nobody holds one at `rivals`.

    Yields whether it is held: where nothing can be written there is nothing to claim. Raises FolderTaken when another
    process holds it; `wait`: waits for it instead.
    """
    ours = Claim.of_this_process()
    try:
        while (holder := _rival(rivals())) is not None or not _take(uri, ours):
            holder = holder or holder_of(uri)
            if holder is not None and not wait:
                raise FolderTaken(
                    f"{place} is taken: {holder}. Let it end, then run the same command again; or wait with --wait"
                )
            time.sleep(SETTLED)
    except (DiskFull, FolderTaken):
        raise
    except StorageError:  # a finished run on a disk that is read-only: whatever must be written will say so
        yield False
        return
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(uri, ours, ended), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        ended.set()
        keeper.join()
        with suppress(OSError, StorageError):
            if _is_ours(uri, ours):
                uris.remove(uri)


def _take(uri: str, ours: Claim) -> bool:
    if uris.write_new(uri, ours.to_json()):
        return True
    holder = holder_of(uri)
    if holder is not None and not holder.void:
        return False
    uris.write_bytes(uri, ours.to_json())
    time.sleep(SETTLED)
    return _is_ours(uri, ours)


def _rival(uris_of_claims: Iterable[str]) -> Claim | None:
    """The first of some claims that somebody stands behind."""
    found = (holder_of(each) for each in uris_of_claims)
    return next((holder for holder in found if holder is not None and not holder.void), None)


def _is_ours(uri: str, ours: Claim) -> bool:
    holder = holder_of(uri)
    return holder is not None and holder.token == ours.token


def _keep(uri: str, ours: Claim, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        with suppress(OSError, StorageError):  # a disk that is away for a while: the next time, then
            if _is_ours(uri, ours):
                uris.write_bytes(uri, replace(ours, alive=time.time()).to_json())
