"""Folders of images: every file once, under an id that is unique and safe as a file name."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.datasets import content_hash, list_images, safe_ids
from storage.errors import StorageError

SAFE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,139}"


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def test_images_are_sorted_and_other_files_counted(tmp_path):
    make(tmp_path, "b.PNG", "a.jpg", "sub/c.webp", "notes.txt", ".hidden.png", ".cache/x.png")
    found = list_images(str(tmp_path))
    assert [image.id for image in found.images] == ["a", "b", "sub__c"]
    assert [image.path for image in found.images] == [
        str(tmp_path / name) for name in ("a.jpg", "b.PNG", "sub/c.webp")
    ]
    assert found.skipped == 1
    assert found == list_images(str(tmp_path) + "/")


def test_paths_outlive_the_working_directory(tmp_path, monkeypatch):
    make(tmp_path, "pictures/a.png", "elsewhere/x.txt")
    monkeypatch.chdir(tmp_path)
    (image,) = list_images("pictures").images
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert content_hash(image.path) != "unreadable"


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    make(tmp_path, "pictures/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_images("~/pictures").images[0].path == str(tmp_path / "pictures" / "a.png")


def test_names_that_would_collide_are_told_apart(tmp_path):
    make(tmp_path, "a.png", "a.jpg", "sub/a.png", "sub__a.png", "x y.png", "x#y.png", "A.webp")
    ids = [image.id.lower() for image in list_images(str(tmp_path)).images]
    assert len(set(ids)) == 7


def test_a_name_that_looks_like_anothers_hash_stays_its_own():
    first, second = safe_ids(["a.jpg", "a.png"])
    ids = safe_ids(["a.jpg", "a.png", f"{first}.png", f"{second}.webp"])
    assert len(set(ids)) == 4 and ids[2:] == [first, second]


@pytest.mark.parametrize(
    "folder", ["plain", "a::b", "12:30", "s p#a%20ce", "ünï", "-x", "new\nline", "[ab]*?"]
)
def test_odd_names_are_found_and_safe(tmp_path, folder):
    names = [
        "new\nline",
        "ünï",
        "日本",
        "100%#",
        "-dash",
        "--help",
        "..dots..",
        "a" * 240,
        "a?b*[c]",
        "%20",
        "a::b",
    ]
    names = [name for name in names if not name.startswith(".")]
    make(tmp_path / folder, *[f"{name}.png" for name in names])
    (tmp_path / folder / os.fsdecode(b"not-utf8-\xff.png")).write_bytes(b"x")
    found = list_images(str(tmp_path / folder)).images
    assert len(found) == len(names) + 1
    for image in found:
        assert re.fullmatch(SAFE, image.id), image.id
        assert content_hash(image.path) != "unreadable"


def test_links_to_folders_are_followed_once(tmp_path):
    make(tmp_path, "far/x.png", "in/real/y.png")
    (tmp_path / "in" / "a-link").symlink_to(tmp_path / "in" / "real")
    (tmp_path / "in" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "in" / "real" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "one.png").symlink_to(tmp_path / "far" / "x.png")
    assert [image.id for image in list_images(str(tmp_path / "in")).images] == [
        "far__x", "gone", "one", "real__y",
    ]  # fmt: skip


def test_what_is_no_file_has_no_hash_and_waits_for_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert [content_hash(image.path) for image in list_images(str(tmp_path)).images] == ["unreadable"] * 2


def test_the_hash_is_of_the_content(tmp_path):
    (tmp_path / "a.png").write_bytes(b"abc")
    assert content_hash(str(tmp_path / "a.png")) == "ba7816bf8f01cfea"


anything = st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
parts = st.text(anything, min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
paths = st.lists(parts, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".png")


@settings(deadline=None)
@given(names=st.lists(paths, min_size=1, max_size=8, unique=True))
def test_ids_are_unique_whatever_the_case_and_stable(names):
    ids = safe_ids(names)
    assert len({unicodedata.normalize("NFKC", identifier).lower() for identifier in ids}) == len(names)
    assert all(re.fullmatch(SAFE, id_) and not id_.endswith(".") for id_ in ids), ids
    assert dict(zip(names, ids, strict=True)) == dict(zip(names[::-1], safe_ids(names[::-1]), strict=True))


@settings(deadline=None)
@given(name=paths)
def test_ids_come_from_the_path_without_its_ending(name):
    path = PurePosixPath(name)
    (id_,) = safe_ids([name])
    bare = str(path.with_suffix("")).replace("/", "__")
    assert id_ == bare or re.fullmatch(r".*-[0-9a-f]{8}", id_), (id_, bare)
    if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?", bare):
        assert id_ == bare


def test_what_is_no_folder_of_images_is_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        list_images(str(tmp_path / "none"))
    make(tmp_path, "notes.txt")
    with pytest.raises(StorageError, match=r"holds no PNG, JPEG or WebP file \(1 other"):
        list_images(str(tmp_path))
    with pytest.raises(StorageError, match="is a file"):
        list_images(str(tmp_path / "notes.txt"))


def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path):
    make(tmp_path, "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    found = list_images(str(tmp_path))
    assert [image.id for image in found.images] == ["a", "loop"]
    assert content_hash(found.images[1].path) == "unreadable"


@pytest.mark.parametrize("output", ["edited", ".", "sub/../edited", "link/edited"])
def test_an_output_inside_the_images_is_refused(tmp_path, output):
    make(tmp_path, "images/a.png")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "images", target_is_directory=True)
    with pytest.raises(StorageError, match="lies inside the image folder"):
        list_images(str(tmp_path / "images"), str(tmp_path / "images" / output))


@pytest.mark.parametrize("output", ["edited", "images-2", "images/.runs/one"])
def test_an_output_that_is_not_listed_is_none_of_the_images(tmp_path, output):
    make(tmp_path, "images/a.png")
    assert len(list_images(str(tmp_path / "images"), str(tmp_path / output)).images) == 1
