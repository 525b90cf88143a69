"""Five landmarks of the largest face in a photograph, by a YuNet whose file the user has.

YuNet (Wu, Peng and Yu 2023, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20) is the
detector that OpenCV reads, decodes and suppresses doubles of by itself (`cv2.FaceDetectorYN`); its file weighs a third
of a megabyte and its licence is MIT. Both published files serve: that of fixed input (…_2023mar.onnx) and that of any
input (…_2026may.onnx), because every picture is laid on a square of the fixed size.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from styleclip.errors import BundleError, NoFaceError

CANVAS = 640
"""Side of the square that the network sees: the input of the published file, in pixels."""
SEEN_BEST = 300
"""Faces of more than so many pixels on the canvas are not what YuNet was trained for (its model card)."""
LONGEST_SIDES = (CANVAS, CANVAS // 2)
"""The picture is looked at in these sizes: small faces are found in the larger one, close-ups in the smaller one."""
SCORE = 0.7
"""Least score of a face. Published recommendations run from 0.6 to 0.9."""
OVERLAP = 0.3
"""Of two boxes that overlap by more (intersection over union), the one of the lower score is dropped."""
CANDIDATES = 5000


class FaceDetector:
    """A YuNet, on the CPU; one call at a time, others wait.

    Raises BundleError where the file is no YuNet, and where OpenCV is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import cv2
        except ImportError as error:
            raise BundleError(
                "the face detector runs in OpenCV, which is not installed: pip install 'styleclip-flows[detector]'"
            ) from error
        self.path = path
        self._busy = threading.Lock()
        logging = cv2.utils.logging
        talkative = logging.getLogLevel()
        # what it would print, the error says
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (CANVAS, CANVAS), score_threshold=SCORE, nms_threshold=OVERLAP, top_k=CANDIDATES
            )  # fmt: skip
            # whether the outputs are those of a YuNet shows in the first pass only
            self._net.detect(np.zeros((CANVAS, CANVAS, 3), np.uint8))
        except cv2.error as error:
            raise BundleError(
                f"{path} is no YuNet that OpenCV {cv2.__version__} can run: {' '.join(error.err.split())}"
            ) from error
        finally:
            logging.setLogLevel(talkative)

    def find(self, image: np.ndarray) -> np.ndarray:
        """Landmarks float64 [5, 2] of the largest face of uint8 [H, W, 3] (RGB), as `align.ffhq_frame` takes them.

        (x, y) in pixels, the first pixel's centre (0, 0): left eye, right eye, nose, left and right corner of the
        mouth, left as one sees it in the picture. Rounded to 1/100 pixel, so that the last bits of the network, which
        depend on the machine, decide nothing. Raises NoFaceError where no face is found.
        """
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (image.dtype, image.shape)
        found: list[tuple[float, np.ndarray]] = []
        for look, longest in enumerate(LONGEST_SIDES):
            faces, scale = self._look(image, longest)
            for face in faces:
                side, points, last = max(face[2:4]), face[4:14], look == len(LONGEST_SIDES) - 1
                least = SEEN_BEST * longest / LONGEST_SIDES[look - 1] if look else 0
                if least < side and (last or side <= SEEN_BEST):
                    landmarks = (np.array(points, dtype=np.float64).reshape(5, 2) + 0.5) / scale - 0.5
                    found.append((side / scale.max(), landmarks))
        if not found:
            raise NoFaceError(
                f"{self.path.name} finds no face in this picture of {image.shape[1]}×{image.shape[0]} pixels "
                f"(score ≥ {SCORE:g}): give its landmarks yourself, or leave it out"
            )
        return np.round(max(found, key=lambda face: face[0])[1], 2)

    def _look(self, image: np.ndarray, longest: int) -> tuple[Any, np.ndarray]:
        """Rows (x, y, w, h, 5 × (x, y), score) on the canvas, and the scale [2] from picture to canvas.

        Pictures are never enlarged: that shows nothing new.
        """
        height, width = image.shape[:2]
        factor = min(longest / max(height, width), 1.0)
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        small = Image.fromarray(image)
        if size != small.size:
            small = small.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
        canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        canvas[: size[1], : size[0]] = np.asarray(small)[..., ::-1]
        with self._busy:
            faces = self._net.detect(canvas)[1]
        return ([] if faces is None else faces.tolist()), np.array(size) / (width, height)
