"""The FFHQ frame: which square a face stands in, and that its picture does not depend on where the face was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import FIVE_POINTS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avatars.world.samples import sample_pictures
from styleclip.errors import AlignmentError
from styleclip.faces.align import align_face, ffhq_frame

shifts = st.floats(-40, 40)
angles = st.floats(-math.pi, math.pi)


def similarity(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    """[2, 3]"""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def sixty_eight(five: np.ndarray, seed: int = 0) -> np.ndarray:
    """68 points of a face that has these five: eye outlines around the eyes, mouth corners, the rest anywhere."""
    random = np.random.default_rng(seed)
    points = random.uniform(five.min(axis=0), five.max(axis=0), (68, 2))
    for eye, first in ((five[0], 36), (five[1], 42)):
        outline = random.normal(size=(6, 2))
        points[first : first + 6] = eye + outline - outline.mean(axis=0)
    points[48], points[54] = five[3], five[4]
    return points


def smooth_picture(seed: int, size: int = 96) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def placed(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture moved by a similarity (of continuous pixel coordinates) onto a grey canvas of (width, height)."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    moved = Image.fromarray(picture).transform(
        size,
        Image.Transform.AFFINE,
        tuple(inverse.ravel()),
        Image.Resampling.BICUBIC,
        fillcolor=(128, 128, 128),
    )
    return np.asarray(moved)


def test_the_frame_is_the_published_formula():
    """Worked by hand for upright faces, from the formula of the paper."""
    wide = np.array([[40.0, 50], [80, 50], [60, 70], [50, 80], [70, 80]])  # |x'| = 40, |y'| = 30: side 160
    frame = ffhq_frame(wide)
    assert frame.side == pytest.approx(160)
    np.testing.assert_allclose(frame.centre - 0.5, [60, 53])
    np.testing.assert_allclose(frame.corners[0] - 0.5, [60 - 80, 53 - 80])
    long = np.array([[50.0, 40], [70, 40], [60, 70], [55, 90], [65, 90]])  # |x'| = 20, |y'| = 50: side 180
    assert ffhq_frame(long).side == pytest.approx(180)
    # turned by a quarter: right of the face is down in the picture
    turned = ffhq_frame(apply(similarity(1, math.pi / 2, 0, 0), wide))
    np.testing.assert_allclose(turned.x, [0, 80], atol=1e-9)
    np.testing.assert_allclose(turned.y, [-80, 0], atol=1e-9)


def test_a_tilt_of_eyes_and_a_tilt_of_the_mouth_both_count():
    """x = Normalize(x' − Rotate90(y')): the horizontal is the mean of the two, weighted by their lengths."""
    face = np.array(
        [[40.0, 50], [80, 50], [60, 70], [60, 90], [80, 90]]
    )  # the mouth is 10 to the right, 40 down
    frame = ffhq_frame(face)
    across = np.array([40.0, 0]) + np.array([40.0, -10.0])
    np.testing.assert_allclose(frame.x / np.hypot(*frame.x), across / np.hypot(*across))


@given(st.floats(0.2, 5), angles, shifts, shifts, st.integers(0, 99))
def test_the_frame_moves_with_the_face(scale, angle, x, y, seed):
    five = FIVE_POINTS * 60 + np.random.default_rng(seed).normal(size=(5, 2))
    matrix = similarity(scale, angle, x, y)
    frame, moved = ffhq_frame(five), ffhq_frame(apply(matrix, five))
    corners = apply(matrix, frame.corners - 0.5) + 0.5
    np.testing.assert_allclose(moved.corners, corners, atol=1e-6 * scale * 100)


@given(angles, st.integers(0, 99))
def test_five_and_sixty_eight_points_agree(angle, seed):
    five = apply(similarity(70, angle, 30, -10), FIVE_POINTS)
    np.testing.assert_allclose(
        ffhq_frame(sixty_eight(five, seed)).corners, ffhq_frame(five).corners, atol=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(st.floats(0.8, 2.5), angles, shifts, shifts, st.integers(0, 9))
def test_the_aligned_picture_does_not_depend_on_where_the_face_was(scale, angle, x, y, seed):
    picture = smooth_picture(seed)
    # a face in the middle of the picture, so that nothing of it is lost in the move
    face = 24 + 48 * FIVE_POINTS
    here = align_face(picture, face, 32)
    centre = apply(similarity(scale, angle, 0, 0), np.array([[48.0, 48]]))[0]
    matrix = similarity(scale, angle, 200 - centre[0] + x, 200 - centre[1] + y)
    canvas = placed(picture, matrix, (400, 400))
    there = align_face(canvas, apply(matrix, face + 0.5) - 0.5, 32)
    difference = np.abs(here.astype(int) - there.astype(int))
    assert difference.mean() < 1.5 and difference.max() <= 12, (difference.mean(), difference.max())


@pytest.mark.parametrize("count", [5, 68])
@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.4), (3.7, -1.2), (0.9, 2.9)])
def test_avatars_in_a_turned_canvas_come_back(count, scale, angle):
    images, _ = sample_pictures(2, 5)
    face = FIVE_POINTS * 64
    matrix = similarity(scale, angle, 300, 260)
    for image in ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy():
        canvas = placed(image, matrix, (700, 600))
        points = apply(matrix, face) - 0.5
        found = align_face(canvas, points if count == 5 else sixty_eight(points), 64)
        # the outermost pixels mix with the canvas
        error = np.abs(found.astype(int) - image.astype(int))[2:-2, 2:-2]
        assert error.mean() < 6, error.mean()
        # and it is this picture, upright: the other orientations are far from it
        other = np.abs(np.rot90(found).astype(int) - image.astype(int))[2:-2, 2:-2]
        assert other.mean() > 3 * error.mean()


def test_a_face_at_the_edge_gets_a_soft_surrounding():
    picture = smooth_picture(3)
    face = FIVE_POINTS * 96 + [30, -20]  # a third of the square is outside
    found = align_face(picture, face, 64)
    inside = align_face(picture, FIVE_POINTS * 96, 64)
    # what was there is there, where the mask has not begun
    np.testing.assert_allclose(
        found[24:60, 4:20].astype(int), inside[24 - 13 : 60 - 13, 24:40].astype(int), atol=40
    )
    # far outside everything tends to the median colour: the corner has lost its detail
    corner = found[:6, -6:].reshape(-1, 3).astype(float)
    assert corner.std(axis=0).max() < picture.reshape(-1, 3).std(axis=0).max() / 3


@pytest.mark.parametrize("size", [(3, 3), (1, 40), (7, 5), (300, 20)])
def test_small_and_narrow_pictures_give_the_wanted_size(size):
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    face = FIVE_POINTS * max(size) + [(width - max(size)) / 2, (height - max(size)) / 2]
    found = align_face(picture, face, 16)
    assert found.shape == (16, 16, 3) and found.dtype == np.uint8 and (found == 90).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (FIVE_POINTS[:4] * 64, r"5 or 68 points .* shape \[4, 2\]"),
        (np.zeros((5, 3)), r"shape \[5, 3\]"),
        (np.full((5, 2), np.nan), "not a finite number"),
        (np.full((5, 2), 30.0), "all at one place"),
        (FIVE_POINTS[[1, 0, 2, 4, 3]] * 64, "is the left eye, as one sees it, the first"),
        (FIVE_POINTS * 64 + 500, "outside the picture of 96×96 pixels"),
        (FIVE_POINTS * 800 - 350, "span 800 pixels in a picture of 96×96"),
    ],
)
def test_points_that_are_no_face_are_explained(points, message):
    with pytest.raises(AlignmentError, match=message):
        align_face(smooth_picture(0), points, 32)


def test_a_line_of_pixels_is_refused_before_it_takes_all_memory():
    picture = np.zeros((1, 10_000, 3), np.uint8)
    with pytest.raises(AlignmentError, match="too narrow"):
        align_face(picture, apply(similarity(30_000, 0.8, 5000, 0.5), FIVE_POINTS - 0.5), 64)
