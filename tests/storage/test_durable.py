"""What killed writers have left."""

from __future__ import annotations

import os

from storage import durable, uris


def test_leftovers_of_killed_writers_are_swept_and_nothing_else(tmp_path):
    old, new = (tmp_path / "run" / f".{digit * 32}.tmp" for digit in "ab")
    for path in (old, new, tmp_path / "run" / ".mine.tmp", tmp_path / "run" / "x.png"):
        uris.write_bytes(str(path), b"x")
    os.utime(old, (1, 1))
    durable.sweep(tmp_path)
    assert not old.exists() and new.exists() and len(os.listdir(tmp_path / "run")) == 3
