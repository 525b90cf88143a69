"""Pictures that wait for a writer are few, and a picture that cannot be written is an error."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from PIL import Image

from storage.errors import StorageError
from tasks.edit.writing import WAITING, WRITERS, picture_writer


def test_few_pictures_wait_however_many_are_made(tmp_path):
    noise = np.random.default_rng(0)
    made: list[weakref.ref[np.ndarray]] = []
    most = 0
    with picture_writer() as write:
        for number in range(60):
            picture = noise.integers(0, 256, (128, 128, 3), np.uint8)
            made.append(weakref.ref(picture))
            write(picture, str(tmp_path / f"{number}.png"))
            most = max(most, sum(each() is not None for each in made))
    assert most <= WAITING + WRITERS + 1
    assert len(list(tmp_path.glob("*.png"))) == 60
    assert np.array_equal(np.asarray(Image.open(tmp_path / "59.png")), picture)


def test_what_goes_wrong_with_a_picture_is_raised(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"file/a\.png"), picture_writer() as write:
        write(np.zeros((4, 4, 3), np.uint8), str(tmp_path / "file" / "a.png"))
