"""Errors of the stores, written for the person who reads them at 7 a.m."""

from __future__ import annotations

from dataclasses import dataclass


class StorageError(Exception):
    """Base of every error about files and stores; its message is one clear line."""


class PlanMismatch(StorageError):
    """A folder or store belongs to another run than the one that wants to continue it."""


class StoreCorrupt(StorageError):
    """A store exists but cannot be read as what it is."""


class ImageError(StorageError):
    """An image file cannot be used; `error_class` is a short stable name, `reason` a sentence."""

    def __init__(self, error_class: str, reason: str) -> None:
        super().__init__(f"{error_class}: {reason}")
        self.error_class = error_class
        self.reason = reason


class StoreExists(StorageError):
    """A store stands where one was to be made: another process may have been faster."""


class FolderTaken(StorageError):
    """Another process works in the folder; the call was right, and will be later."""


class DiskFull(StorageError):
    """There is no space left; the call was right, and goes on once there is some."""


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written; `shard`: the shard or block that makes it again, None where none does."""

    file: str
    what: str
    shard: int | None = None


@dataclass(frozen=True)
class Failure:
    """Why a row failed: its error class, and a reason for people."""

    error_class: str
    reason: str
