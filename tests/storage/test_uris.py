"""Paths: which are local, how files come into being, and what is said when they cannot."""

from __future__ import annotations

import errno
import os

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from storage import uris
from storage.errors import StorageError


@pytest.mark.parametrize("uri", ["s3://bucket/key", "memory://x", "simplecache::s3://b/k", "gcs://b"])
def test_remote_paths(uri):
    assert uris.is_remote(uri)


@pytest.mark.parametrize(
    "uri", ["a/b", "/a/b", "file:///a", "a::b", "12:30/x", "a:b//c", "./s3://x", "/x/s3://y"]
)
def test_local_paths(uri):
    assert not uris.is_remote(uri)


def test_files_are_whole_or_absent_and_leave_nothing_behind(tmp_path):
    target = tmp_path / "new" / "folder" / "x"
    uris.write_bytes(str(target), b"one")
    uris.write_bytes(f"file://{target}", b"two")
    assert uris.read_bytes(str(target)) == b"two" and os.listdir(target.parent) == ["x"]


def test_a_new_file_never_replaces_one(tmp_path):
    target = str(tmp_path / "folder" / "x")
    assert uris.write_new(target, b"one") is True
    assert uris.write_new(target, b"two") is False
    assert uris.read_bytes(target) == b"one" and os.listdir(tmp_path / "folder") == ["x"]


def test_a_new_file_where_there_are_no_links(tmp_path, monkeypatch):
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert uris.write_new(str(tmp_path / "x"), b"one") is True
    assert uris.write_new(str(tmp_path / "x"), b"two") is False
    assert uris.read_bytes(str(tmp_path / "x")) == b"one" and os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("write", [uris.write_bytes, uris.write_new])
@pytest.mark.parametrize("name", ["file/x", "file/deep/x", "a" * 300 + "/x"])
def test_a_place_that_can_never_be_written_is_one_line(tmp_path, write, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"cannot be written \(.*\): choose another place") as caught:
        write(str(tmp_path / name), b"x")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(StorageError, match="Is a directory"):
        uris.write_bytes(str(tmp_path), b"x")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "choose another place"), (errno.EACCES, "permissions")],
)
def test_errors_that_no_second_attempt_cures_are_explained(number, advice):
    with (
        pytest.raises(StorageError, match=rf"^/out/x cannot be written \(.*{advice}"),
        uris.explained("/out/x"),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O"), TimeoutError("slow"), ConnectionError("lost")])
def test_errors_that_may_pass_are_left_to_be_tried_again(error):
    with pytest.raises(type(error)) as caught, uris.explained("/out/x"):
        raise error
    assert caught.value is error


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(StorageError, match="nosuch://x: no driver for this kind of path"):
        uris.read_bytes("nosuch://x")
    with pytest.raises(StorageError, match="nosuch://x: no driver"):
        uris.zarr_store("nosuch://x")


def test_files_below_a_folder(tmp_path):
    for name in ["b", "a/c", "a/.hidden", ".git/config", "a/d/e"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert uris.list_files(str(tmp_path)) == ["a/c", "a/d/e", "b"]
    assert uris.entries(str(tmp_path)) == [".git", "a", "b"]
    with pytest.raises(StorageError, match="cannot be listed"):
        uris.list_files(str(tmp_path / "none"))


@pytest.mark.parametrize("uri", ["ftp://me:secret@host/x", "simplecache::https://me:secret@host/x"])
def test_a_password_in_a_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(StorageError, match="leave it out") as caught:
        uris.filesystem(uri)
    assert "secret" not in str(caught.value)


def test_a_commit_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    """Power may be lost at any moment: first the bytes, then the name, then the folder that holds the name."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: events.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file") or fsync(fd),
    )
    monkeypatch.setattr(os, "replace", lambda *names: events.append("name") or replace(*names))
    uris.write_bytes(str(tmp_path / "commit"), b"x", commit=True)
    assert events == ["file", "name", "folder"]


def test_a_stamp_tells_when_a_file_was_written_again(tmp_path):
    uri = str(tmp_path / "x")
    assert uris.stamp_of(uri) is None and uris.stamp_of(f"{uri}/below") is None
    uris.write_bytes(uri, b"one")
    first = uris.stamp_of(uri)
    assert first == uris.stamp_of(uri)
    uris.write_bytes(uri, b"two")
    assert uris.stamp_of(uri) != first


def test_where_a_change_cannot_be_told_nothing_counts_as_unchanged(monkeypatch):
    class Silent(MemoryFileSystem):
        """A file system that tells the size of a file and nothing else."""

        cachable = False

        def info(self, path: str, **_: object) -> dict[str, object]:
            return {"size": super().info(path)["size"]}

    uris.write_bytes("memory://silent", b"x")
    monkeypatch.setattr(uris, "filesystem", lambda uri: (Silent(), "/silent"))
    assert uris.stamp_of("memory://silent") != uris.stamp_of("memory://silent")
