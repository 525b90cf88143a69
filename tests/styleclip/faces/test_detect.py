"""Faces found by detectors in YuNet's published layout, run by the real OpenCV."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import FIVE_POINTS
from hypothesis import given, settings
from hypothesis import strategies as st
from yunet_files import COLOURS, draw_face, write_yunet

from styleclip.errors import BundleError, NoFaceError
from styleclip.faces.detect import CANVAS, SEEN_BEST, FaceDetector


@pytest.fixture(scope="module", params=[True, False], ids=["2023mar, fixed", "2026may, any size"])
def detector(request, tmp_path_factory) -> FaceDetector:
    return FaceDetector(write_yunet(tmp_path_factory.mktemp("yunet") / "yunet.onnx", fixed=request.param))


def photograph(height: int, width: int, *faces: np.ndarray, radius: float = 4.0) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    for points in faces:
        picture = draw_face(picture, points, radius)
    return picture


@pytest.mark.parametrize(
    "height, width, side, radius",
    [(640, 640, 220, 4), (64, 64, 64, 3), (300, 400, 200, 4), (1200, 1600, 500, 12), (2000, 900, 900, 30)],
)
def test_landmarks_are_found_in_pictures_of_any_shape(detector, height, width, side, radius):
    """The last one is a close-up: nothing to be seen in it at full size."""
    points = FIVE_POINTS * side + [(width - side) / 2, (height - side) / 2]
    found = detector.find(photograph(height, width, points, radius=radius))
    assert found.shape == (5, 2) and np.abs(found - points).max() < 0.1


@settings(max_examples=15, deadline=None)
@given(
    x=st.floats(0, 1), y=st.floats(0, 1), side=st.floats(140, 260), angle=st.floats(-0.5, 0.5),
    height=st.integers(280, 900), width=st.integers(280, 900),
)  # fmt: skip
def test_a_face_is_found_wherever_it_is(detector, x, y, side, angle, height, width):
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (FIVE_POINTS - 0.5) @ turn * side + side / 2 + [x * (width - side), y * (height - side)]
    assert np.abs(detector.find(photograph(height, width, points, radius=5)) - points).max() < 0.3


def test_the_largest_of_several_faces_is_taken(detector):
    small, large = FIVE_POINTS * 160 + [20, 20], FIVE_POINTS * 240 + [380, 350]
    for picture in (photograph(640, 640, small, large), photograph(640, 640, large, small)):
        assert np.abs(detector.find(picture) - large).max() < 0.1


def test_a_close_up_wins_over_a_small_face_behind_it(detector):
    """The close-up is larger than what the network was made for: what the first look says of it is not believed."""
    behind, close = FIVE_POINTS * 140 + [560, 20], FIVE_POINTS * 700 + [28, 0]
    picture = draw_face(photograph(710, 720, behind), close, radius=16)
    first = detector._look(picture, CANVAS)[0]
    assert len(first) == 2 and max(face[2] for face in first) > SEEN_BEST
    assert np.abs(detector.find(picture) - close).max() < 0.5


def test_red_is_not_blue(detector):
    """YuNet wants blue first; pictures here have red first."""
    points = FIVE_POINTS * 220 + 100
    picture = photograph(CANVAS, CANVAS, points)
    assert (picture[tuple(np.round(points[0]).astype(int)[::-1])] == COLOURS[0]).all()
    with pytest.raises(NoFaceError):
        detector.find(picture[..., [1, 0, 2]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (3000, 2), (40, 40)])
def test_no_face_says_so(detector, shape):
    with pytest.raises(NoFaceError, match=rf"no face in this picture of {shape[1]}×{shape[0]} pixels"):
        detector.find(np.zeros((*shape, 3), np.uint8))


def test_the_same_picture_gives_the_same_landmarks_from_many_threads(detector):
    from concurrent.futures import ThreadPoolExecutor

    pictures = [photograph(400, 400, FIVE_POINTS * 200 + [place, 60]) for place in (20, 60, 100, 140)]
    alone = [detector.find(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for wanted, found in zip(alone * 3, pool.map(detector.find, pictures * 3), strict=True):
            assert np.array_equal(wanted, found)


@pytest.mark.parametrize("content", [b"", b"no network" * 50, "cut", "lacks an output", "a directory"])
def test_a_file_that_is_no_yunet_is_refused_by_name(tmp_path, capfd, content):
    path = tmp_path / "face.onnx"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(write_yunet(path).read_bytes()[:3000])
    elif content == "lacks an output":
        write_yunet(path, without="kps_16")
    else:
        path.mkdir()
    with pytest.raises(BundleError, match=r"face\.onnx is no YuNet that OpenCV .* can run: .+"):
        FaceDetector(path)
    assert capfd.readouterr() == ("", "")


def test_without_opencv_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BundleError, match=r"pip install 'styleclip-flows\[detector\]'"):
        FaceDetector(Path(write_yunet(tmp_path / "yunet.onnx")))
