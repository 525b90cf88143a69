"""Folders of images: every file once, under an id that is unique and safe as a file name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets import _ids, content_hash, list_images
from storage.errors import StorageError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_images_are_sorted_and_other_files_counted(tmp_path):
    make(tmp_path, "b.PNG", "a.jpg", "sub/c.webp", "notes.txt", ".hidden.png", ".cache/x.png")
    found = list_images(str(tmp_path))
    assert [image.id for image in found.images] == ["a", "b", "sub__c"]
    assert found.skipped == 1
    assert found == list_images(str(tmp_path) + "/")


def test_names_that_would_collide_are_told_apart(tmp_path):
    make(tmp_path, "a.png", "a.jpg", "sub/a.png", "sub__a.png", "x y.png", "x#y.png")
    ids = [image.id for image in list_images(str(tmp_path)).images]
    assert len(set(ids)) == 6


def test_odd_names_are_found_and_safe(tmp_path):
    make(tmp_path, "new\nline.png", "ünï.png", "100%#.png", "-dash.png", "a" * 240 + ".png")
    found = list_images(str(tmp_path)).images
    assert len(found) == 5
    for image in found:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", image.id), image.id
        assert len(image.id) < 140
        assert content_hash(image.path) != "unreadable"


paths = st.lists(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=12),
    min_size=1,
    max_size=3,
).map(lambda parts: "/".join(parts) + ".png")


@given(names=st.lists(paths, min_size=1, max_size=8, unique=True))
def test_ids_are_unique_whatever_the_case_and_stable(names):
    ids = _ids(names)
    assert len({identifier.lower() for identifier in ids}) == len(names)
    assert dict(zip(names, ids, strict=True)) == dict(zip(names[::-1], _ids(names[::-1]), strict=True))


def test_what_is_no_folder_of_images_is_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        list_images(str(tmp_path / "none"))
    make(tmp_path, "notes.txt")
    with pytest.raises(StorageError, match=r"holds no PNG, JPEG or WebP file \(1 other"):
        list_images(str(tmp_path))
    with pytest.raises(StorageError, match="is a file"):
        list_images(str(tmp_path / "notes.txt"))
