"""Reading files that may be damaged or hostile, so that whatever happens is one line that names the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipInfo

from styleclip.errors import CheckpointError


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn every failure inside into a CheckpointError about `path`, which was read as a `kind`."""
    try:
        yield
    except CheckpointError as error:
        # names out of a damaged file may hold anything, line breaks too
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from None
    except Exception as error:  # such a file may fail anywhere
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise CheckpointError(
            f"{path}: not a readable {kind} ({type(error).__name__}: {line[:200]})"
        ) from None


def check_promise(path: Path, entries: Iterable[ZipInfo]) -> None:
    """Refuse an archive whose entries unpack to more than the file holds: torch stores tensors as they are.

    Raises CheckpointError.
    """
    promised, there = sum(entry.file_size for entry in entries), path.stat().st_size
    if promised > there:
        raise CheckpointError(
            f"promises {promised} bytes of data in a file of {there}: refused, it may be a zip bomb"
        )
