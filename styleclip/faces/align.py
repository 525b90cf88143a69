"""Photographs into the frame that FFHQ generators know: eyes level, one size, one place.

The frame is that of Karras et al. 2018 (arXiv 1710.10196, appendix C), which FFHQ was made with (Karras et al. 2019,
arXiv 1812.04948): with eyes e₀ e₁ and mouth corners m₀ m₁, x′ = e₁ − e₀, y′ = ½(e₀ + e₁) − ½(m₀ + m₁), the square's
centre is ½(e₀ + e₁) − 0.1·y′, its side max(4·|x′|, 3.6·|y′|), its horizontal x′ − Rotate90(y′) made unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from styleclip.errors import AlignmentError

COUNTS = (5, 68)
LEFT_EYE, RIGHT_EYE, MOUTH_CORNERS = slice(36, 42), slice(42, 48), [48, 54]
"""Of the 68 points of the iBUG 300-W scheme, which dlib and many others predict."""
SUPERSAMPLING = 4
LARGEST_CANVAS = 1 << 26
"""Pixels of a picture that was made smaller and continued beyond its edges: far more than any generator draws."""
LARGEST_SIDE = 4.0
"""A frame of more than so many times the picture's longer side is a mistake in the landmarks."""


@dataclass(frozen=True)
class FaceFrame:
    """A square in a picture, in continuous pixel coordinates (the centre of the first pixel is (0.5, 0.5)).

    centre [2]; x [2], y [2]: half a side to the right and half a side down, as the face sees them.
    """

    centre: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def side(self) -> float:
        """Length of a side in pixels."""
        return 2 * math.hypot(*self.x)

    @property
    def corners(self) -> np.ndarray:
        """[4, 2]: top left, bottom left, bottom right, top right."""
        c, x, y = self.centre, self.x, self.y
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])

    def moved(self, scale: np.ndarray, offset: np.ndarray) -> FaceFrame:
        """The same square after the picture was resized by `scale` [2] and then shifted by `offset` [2]."""
        return FaceFrame(self.centre * scale + offset, self.x * scale, self.y * scale)


def ffhq_frame(landmarks: np.ndarray) -> FaceFrame:
    """The FFHQ square of a face from landmarks [5, 2] or [68, 2], (x, y) in pixels, the first pixel's centre (0, 0).

    Five points: left eye, right eye, nose, left and right corner of the mouth, left as one sees it in the picture (the
    order of MTCNN and RetinaFace; dlib's five points have no mouth and do not serve). 68 points: iBUG 300-W. Raises
    AlignmentError for another number of points, and for points that are no face.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in COUNTS:
        raise AlignmentError(
            f"landmarks are 5 or 68 points (x, y), not an array of shape {list(points.shape)}"
        )
    if not np.isfinite(points).all():
        raise AlignmentError("a landmark is not a finite number")
    if len(points) == 5:
        left, right, mouth = points[0], points[1], points[3:5].mean(axis=0)
    else:
        left, right = points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)
        mouth = points[MOUTH_CORNERS].mean(axis=0)
    eyes, across = (left + right) / 2, right - left
    down = mouth - eyes
    half = max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down))
    if half < 1:
        raise AlignmentError("the landmarks are all at one place")
    if across[0] * down[1] - across[1] * down[0] <= 0:
        raise AlignmentError(
            "the landmarks are no upright face seen from the front: is the left eye, as one sees it, the first point?"
        )
    x = across + np.array([down[1], -down[0]])
    x *= half / math.hypot(*x)
    return FaceFrame(eyes + 0.1 * down + 0.5, x, np.array([-x[1], x[0]]))


def align_face(image: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """Cut the FFHQ square of a face out of uint8 [H, W, 3], turned upright and resized → uint8 [size, size, 3].

    As published: large pictures are shrunk first; where the square leaves the picture, the picture is continued by
    reflection, blurred and faded to its median colour. Raises AlignmentError when the landmarks are no face or lie
    outside the picture.
    """
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (image.dtype, image.shape)
    assert size > 0, size
    frame = ffhq_frame(landmarks)
    height, width = image.shape[:2]
    if not ((frame.centre >= 0) & (frame.centre <= (width, height))).all():
        raise AlignmentError(
            f"the landmarks lie outside the picture of {width}×{height} pixels: were they made for another size?"
        )
    if frame.side > LARGEST_SIDE * max(width, height):
        raise AlignmentError(
            f"the landmarks span {frame.side:.0f} pixels in a picture of {width}×{height}: were they made for another?"
        )
    picture, frame = _shrunk(Image.fromarray(image), frame, size)
    picture, frame = _cropped(picture, frame)
    picture, frame = _padded(picture, frame)
    fine = size * SUPERSAMPLING
    origin, step_x, step_y = frame.centre - frame.x - frame.y, 2 * frame.x / fine, 2 * frame.y / fine
    matrix = (step_x[0], step_y[0], origin[0], step_x[1], step_y[1], origin[1])
    upright = picture.transform((fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(upright.resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8)


def _border(frame: FaceFrame) -> int:
    return max(round(frame.side * 0.1), 3)


def _shrunk(picture: Image.Image, frame: FaceFrame, size: int) -> tuple[Image.Image, FaceFrame]:
    """By a whole factor, so that the square keeps at least twice the pixels that are wanted."""
    factor = math.floor(frame.side / size * 0.5)
    if factor <= 1:
        return picture, frame
    smaller = (max(round(picture.width / factor), 1), max(round(picture.height / factor), 1))
    scale = np.array(smaller) / np.array(picture.size)
    return picture.resize(smaller, Image.Resampling.LANCZOS), frame.moved(scale, np.zeros(2))


def _cropped(picture: Image.Image, frame: FaceFrame) -> tuple[Image.Image, FaceFrame]:
    """To the square's surroundings: what lies further away costs time only."""
    border = _border(frame)
    left, top = np.maximum(np.floor(frame.corners.min(axis=0)).astype(int) - border, 0)
    right, bottom = np.minimum(np.ceil(frame.corners.max(axis=0)).astype(int) + border, picture.size)
    return picture.crop((left, top, right, bottom)), frame.moved(np.ones(2), -np.array([left, top]))


def _padded(picture: Image.Image, frame: FaceFrame) -> tuple[Image.Image, FaceFrame]:
    """Continued beyond its edges where the square needs more than the picture has."""
    border = _border(frame)
    before = np.maximum(np.ceil(-frame.corners.min(axis=0)).astype(int) + border, 0)
    after = np.maximum(np.ceil(frame.corners.max(axis=0) - picture.size).astype(int) + border, 0)
    # A little of the border missing is no reason to blur the edges.
    if max(*before, *after) <= max(border - 4, 0):
        return picture, frame
    least = round(frame.side * 0.3)
    (left, top), (right, bottom) = np.maximum(before, least), np.maximum(after, least)
    # A picture that is one pixel high cannot be made smaller, so what surrounds its square would stay enormous.
    if (picture.width + left + right) * (picture.height + top + bottom) > LARGEST_CANVAS:
        raise AlignmentError("the picture is too narrow for a face of the size that its landmarks span")
    wide = np.pad(np.asarray(picture), ((top, bottom), (left, right), (0, 0)), mode="reflect").astype(
        np.float32
    )
    height, width = wide.shape[:2]
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    # 1 at the new edges, 0 at the old ones, negative inside
    vertical = 1 - np.minimum(rows / top, (height - 1 - rows) / bottom)
    horizontal = 1 - np.minimum(columns / left, (width - 1 - columns) / right)
    outside = np.maximum(vertical[:, None], horizontal[None, :])[..., None]
    whole = Image.fromarray(wide.astype(np.uint8))
    soft = np.asarray(whole.filter(ImageFilter.GaussianBlur(frame.side * 0.02)), dtype=np.float32)
    wide += (soft - wide) * np.clip(3 * outside + 1, 0, 1)
    wide += (np.median(wide, axis=(0, 1)) - wide) * np.clip(outside, 0, 1)
    done = Image.fromarray(np.clip(np.rint(wide), 0, 255).astype(np.uint8))
    return done, frame.moved(np.ones(2), np.array([left, top]))
