"""A face detector in YuNet's published layout that finds faces made of five coloured dots.

Its inputs and outputs have the published names and shapes: "input" [1, 3, 640, 640] (BGR, 0 … 255, not normalised), or
of any height and width, and for every stride s of 8, 16 and 32 the outputs cls_s, obj_s [1, A, 1], bbox_s [1, A, 4] and
kps_s [1, A, 10], A cells of s × s pixels. The network in between is not learned but made: convolutions that weigh the
dots' colours by their place. Only stride 32 ever finds a face.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)
"""RGB of the left eye, right eye, nose, left and right corner of the mouth, left as seen in the picture."""
# the dots' colours from B, G, R by one linear layer and ReLU; 0 on black, white and the other dots
_MIX = np.array([[-1, -1, 1], [-1, 1, -1], [1, -1, -1], [-1, 1, 1], [1, 1, -1]], np.float32)
_LIFT = np.array([0, 0, 0, -255, -255], np.float32)
STRIDE, REACH = 32, 160
"""A cell sees dots at most half of REACH away on the canvas."""


def draw_face(picture: np.ndarray, points: np.ndarray, radius: float = 4.0) -> np.ndarray:
    """Five dots on uint8 [H, W, 3] at points [5, 2], (x, y) in pixels, the first pixel's centre (0, 0)."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cover = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)[..., None]
        picture = np.round(picture * (1 - cover) + colour * cover).astype(np.uint8)
    return picture


def write_yunet(path: Path, fixed: bool = False, without: str = "") -> Path:
    """Write the detector; `without` leaves the output of that name out, which makes it no YuNet."""
    made = _Graph()
    masses, sums = made.dots()
    safe = made.node("Max", masses, made.constant(np.float32(1e-3)))
    x, y = (made.node("Div", each, safe) for each in sums)
    # all five dots must be in reach: 20 pixels' worth of each
    whole = made.node(
        "Clip", made.node("Div", masses, made.constant(np.float32(20 * 255))), made.zero, made.one
    )
    all_five = made.node("ReduceMin", whole, made.constant(np.array([1])), keepdims=1)
    middle_x, middle_y = (
        made.node("ReduceMean", each, made.constant(np.array([1])), keepdims=1) for each in (x, y)
    )
    # the cell in the middle of the face sees it best; what the others see may be cut off at their reach
    far = (
        made.node("Abs", made.node("Sub", each, made.constant(np.float32(0.5))))
        for each in (middle_x, middle_y)
    )
    near = made.node(
        "Sub", made.one, made.node("Mul", made.node("Add", *far), made.constant(np.float32(0.1)))
    )
    score = made.node("Mul", all_five, made.node("Clip", near, made.zero, made.one))
    wide = made.node("ReduceMax", x, made.constant(np.array([1])), keepdims=1)
    side = made.node("Mul", made.node("Sub", wide, middle_x), made.constant(np.float32(4.5)))
    log = made.node("Log", made.node("Max", side, made.constant(np.float32(1e-3))))
    pairs = made.node(
        "Concat", *(made.node("Slice", each, *made.one_of(i)) for i in range(5) for each in (x, y)), axis=1
    )
    maps = {
        "cls": score, "obj": score,
        "bbox": made.node("Concat", middle_x, middle_y, log, log, axis=1), "kps": pairs,
    }  # fmt: skip
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = []
    for stride in (8, 16, 32):
        for name, width in widths.items():
            value = maps[name] if stride == STRIDE else made.nothing(stride, width)
            flat = made.node("Transpose", value, perm=[0, 2, 3, 1])
            made.node("Reshape", flat, made.constant(np.array([1, -1, width])), output=f"{name}_{stride}")
            cells = (640 // stride) ** 2 if fixed else None
            outputs.append(
                helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, cells, width])
            )
    shape = [1, 3, 640, 640] if fixed else [1, 3, "height", "width"]
    graph = helper.make_graph(
        made.nodes, "yunet", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [each for each in outputs if each.name != without], made.constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


class _Graph:
    """Nodes and constants, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.zero, self.one = self.constant(np.float32(0)), self.constant(np.float32(1))

    def constant(self, value: np.ndarray | np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: object) -> str:
        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def one_of(self, channel: int) -> tuple[str, str, str]:
        """Arguments of Slice for one channel."""
        return tuple(self.constant(np.array([value])) for value in (channel, channel + 1, 1))  # type: ignore[return-value]

    def dots(self) -> tuple[str, tuple[str, str]]:
        """Per cell: how much there is of each dot, and that times its place in strides from the cell's corner."""
        masks = self.node("Relu", self.node(
            "Conv", "input", self.constant(_MIX[:, :, None, None]), self.constant(_LIFT), kernel_shape=[1, 1],
        ))  # fmt: skip
        # kernel cell k of output cell c looks at pixel STRIDE·c + k − pad, in strides from the cell's corner:
        pad = (REACH - STRIDE) // 2
        place = ((np.arange(REACH) - pad) / STRIDE).astype(np.float32)
        flat = np.ones((REACH, REACH), np.float32)
        kernels = (flat, flat * place[None, :], flat * place[:, None])
        mass, along_x, along_y = (
            self.node(
                "Conv", masks, self.constant(np.tile(kernel, (5, 1, 1, 1))),
                group=5, kernel_shape=[REACH, REACH], pads=[pad] * 4, strides=[STRIDE, STRIDE],
            )
            for kernel in kernels
        )  # fmt: skip
        return mass, (along_x, along_y)

    def nothing(self, stride: int, channels: int) -> str:
        """Zeros in the shape of a stride's map."""
        return self.node(
            "Conv", "input", self.constant(np.zeros((channels, 3, stride, stride), np.float32)),
            kernel_shape=[stride, stride], strides=[stride, stride],
        )  # fmt: skip
