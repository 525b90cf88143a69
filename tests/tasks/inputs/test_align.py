"""Files and landmarks into aligned batches."""

from __future__ import annotations

import io

import numpy as np
from helpers import FIVE_POINTS
from PIL import Image
from tiny_bundle import as_png, picture

import tasks.inputs.decode
from storage.landmarks import Unusable
from styleclip.faces.align import align_face
from tasks.inputs.decode import decode

FACE = FIVE_POINTS * 60


def test_faces_are_cut_out_of_all_pixels_and_bad_ones_are_failures(tmp_path):
    whole = picture(1, 60)
    for name in ("face", "none", "swapped", "far"):
        (tmp_path / f"{name}.png").write_bytes(as_png(whole))
    (tmp_path / "broken.png").write_bytes(b"")
    paths = [str(tmp_path / f"{name}.png") for name in ("none", "face", "broken", "swapped", "far")]
    landmarks = [
        Unusable("NoLandmarks", "it is not in the table"), FACE, FACE, FACE[[1, 0, 2, 4, 3]], FACE + 500,
    ]  # fmt: skip
    decoded = decode(paths, 16, landmarks)
    assert decoded.positions == [1]
    assert np.array_equal(decoded.images[0], align_face(whole, FACE, 16))
    classes = {place: failure.error_class for place, failure in decoded.failures.items()}
    assert classes == {0: "NoLandmarks", 2: "Empty", 3: "BadLandmarks", 4: "BadLandmarks"}
    assert decoded.failures[0].reason == "it is not in the table"
    assert "outside the picture of 60×60" in decoded.failures[4].reason


def test_landmarks_belong_to_the_upright_picture(tmp_path):
    """A photograph that the camera marks as turned: people mark faces in what they see."""
    upright = picture(2, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90° clockwise to see it"
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(upright).copy()).save(buffer, "PNG", exif=exif)
    (tmp_path / "turned.png").write_bytes(buffer.getvalue())
    decoded = decode([str(tmp_path / "turned.png")], 16, [FACE])
    assert np.array_equal(decoded.images[0], align_face(upright, FACE, 16))


def test_memory_that_runs_out_over_one_picture_is_a_failure_of_this_one(tmp_path, monkeypatch):
    def greedy(*_: object) -> None:
        raise MemoryError

    (tmp_path / "a.png").write_bytes(as_png(picture(1)))
    monkeypatch.setattr(tasks.inputs.decode, "align_face", greedy)
    failure = decode([str(tmp_path / "a.png")], 16, [FACE]).failures[0]
    assert failure.error_class == "OutOfMemory"
