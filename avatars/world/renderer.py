"""Draws avatars: batched signed-distance shapes in torch, at any resolution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avatars.world.factors import Parameters, parameters

HAIR = (
    (0.10, 0.09, 0.11),
    (0.42, 0.25, 0.13),
    (0.96, 0.80, 0.36),
    (0.83, 0.22, 0.08),
    (0.74, 0.75, 0.78),
    (0.16, 0.36, 0.86),
)
BACKGROUND = ((0.97, 0.93, 0.84), (0.62, 0.82, 0.95), (0.58, 0.82, 0.58), (0.96, 0.70, 0.78))
SKIN_LIGHT, SKIN_DARK = (1.0, 0.84, 0.72), (0.48, 0.30, 0.20)
EYE_BROWN, EYE_BLUE = (0.34, 0.18, 0.08), (0.10, 0.50, 0.95)
FRAME = (0.13, 0.12, 0.16)
HAT, HAT_BAND = (0.10, 0.50, 0.50), (0.93, 0.90, 0.82)
SHIRT = (0.27, 0.30, 0.50)
GOLD = (0.98, 0.78, 0.15)
LIPS, LIPSTICK, MOUTH, TEETH = (0.70, 0.36, 0.33), (0.86, 0.04, 0.22), (0.30, 0.05, 0.07), (1.0, 1.0, 1.0)


class _Canvas:
    """An image under construction; coordinates run from −1 to 1, y downwards."""

    def __init__(self, n: int, size: int, device: torch.device) -> None:
        axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
        self.x, self.y = axis[None, None, :], axis[None, :, None]
        self.softness = size / 2
        self.rgb = torch.zeros(n, 3, size, size, device=device)

    def cover(self, distance: Tensor) -> Tensor:
        """Signed distance (negative inside) → pixel coverage in [0, 1]."""
        return (0.5 - distance * self.softness).clamp(0, 1)

    def paint(self, coverage: Tensor, colour: Tensor) -> None:
        """Lay `colour` [N or 1, 3] over the image where `coverage` [N, H, W] says."""
        self.rgb += coverage.unsqueeze(1) * (colour[:, :, None, None] - self.rgb)

    def ellipse(
        self, cx: Tensor | float, cy: Tensor | float, rx: Tensor | float, ry: Tensor | float
    ) -> Tensor:
        """Approximate signed distance to an axis-aligned ellipse."""
        dx, dy = (self.x - cx) / rx, (self.y - cy) / ry
        radius = (dx.square() + dy.square()).sqrt()
        gradient = ((dx / rx).square() + (dy / ry).square()).sqrt() + 1e-6
        return radius * (radius - 1) / gradient

    def box(
        self, cx: Tensor | float, cy: Tensor | float, rx: Tensor | float, ry: Tensor | float, corner: float
    ) -> Tensor:
        """Signed distance to a box with rounded corners."""
        dx = (self.x - cx).abs() - rx + corner
        dy = (self.y - cy).abs() - ry + corner
        return (
            (dx.clamp(min=0).square() + dy.clamp(min=0).square()).sqrt()
            + torch.maximum(dx, dy).clamp(max=0)
            - corner
        )


def _colour(rgb: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor([rgb], device=like.device)


def render(u: Tensor, size: int = 64, supersample: int = 2) -> Tensor:
    """Factors u [N, len(NAMES)] → images [N, 3, size, size], float32 in [−1, 1]."""
    return draw(parameters(u), size, supersample)


@torch.no_grad()
def draw(p: Parameters, size: int = 64, supersample: int = 2) -> Tensor:
    """Drawing parameters of N avatars → images [N, 3, size, size], float32 in [−1, 1]."""
    v = {name: value[:, None, None] for name, value in p.value.items()}
    hair = p.hair @ torch.tensor(HAIR, device=p.hair.device)
    skin_tone = p.value["skin"][:, None]
    skin = _colour(SKIN_LIGHT, hair) * (1 - skin_tone) + _colour(SKIN_DARK, hair) * skin_tone
    canvas = _Canvas(len(hair), size * supersample, hair.device)
    head_x, head_y, chin = 0.40 + 0.16 * v["face_width"], 0.60, 0.08

    canvas.paint(
        torch.ones_like(canvas.rgb[:, 0]), p.background @ torch.tensor(BACKGROUND, device=hair.device)
    )
    _hair_behind(canvas, v, hair, head_x)
    _body(canvas, skin, head_x, hair)
    canvas.paint(canvas.cover(canvas.ellipse(0.0, chin, head_x, head_y)), skin)
    _cheeks(canvas, v, hair)
    _beard(canvas, v, hair, head_x, head_y, chin)
    _nose(canvas, v, skin)
    _mouth(canvas, v, hair)
    _eyes(canvas, v, hair)
    _hair_front(canvas, v, hair, head_x, head_y, chin)
    _brows(canvas, v, hair)
    _earrings(canvas, v, hair, head_x)
    _glasses(canvas, v, hair, head_x)
    _hat(canvas, v, hair, head_x)
    image = F.avg_pool2d(canvas.rgb, supersample) if supersample > 1 else canvas.rgb
    return image * 2 - 1


def _hair_behind(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor) -> None:
    bottom = 0.05 + 0.80 * v["hair_length"]
    top = -0.62
    shape = canvas.box(0.0, (bottom + top) / 2, head_x + 0.14, (bottom - top) / 2, 0.30)
    canvas.paint(canvas.cover(shape) * (1 - v["bald"]), hair * 0.86)


def _body(canvas: _Canvas, skin: Tensor, head_x: Tensor, hair: Tensor) -> None:
    canvas.paint(canvas.cover(canvas.box(0.0, 0.72, 0.19, 0.24, 0.05)), skin * 0.86)
    canvas.paint(canvas.cover(canvas.ellipse(0.0, 1.18, 0.82, 0.40)), _colour(SHIRT, hair))
    for side in (-1, 1):
        canvas.paint(canvas.cover(canvas.ellipse(side * (head_x + 0.01), 0.10, 0.11, 0.15)), skin * 0.93)


def _cheeks(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor) -> None:
    for side in (-1, 1):
        shape = canvas.cover(canvas.ellipse(side * 0.31, 0.27, 0.13, 0.10))
        canvas.paint(shape * v["rosy_cheeks"] * 0.85, _colour((0.96, 0.32, 0.45), hair))


def _beard(
    canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor, head_y: float, chin: float
) -> None:
    outer = canvas.ellipse(0.0, chin + 0.03, head_x + 0.02, head_y + 0.04)
    upper_edge = 0.34 - canvas.y - 0.5 * (canvas.x.square() - 0.05)
    around_mouth = 0.155 - (canvas.x / 1.9).square().add((canvas.y - 0.43).square()).sqrt()
    shape = canvas.cover(torch.maximum(torch.maximum(outer, upper_edge), around_mouth))
    canvas.paint(shape * v["beard"], hair * 0.72)


def _nose(canvas: _Canvas, v: dict[str, Tensor], skin: Tensor) -> None:
    size = 0.045 + 0.06 * v["nose_size"]
    canvas.paint(canvas.cover(canvas.ellipse(0.0, 0.19, size * 1.15, size)), skin * 0.78)


def _mouth(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor) -> None:
    half_width, middle = 0.25, 0.43
    across = 1 - (canvas.x / half_width).square()
    centre = middle + 0.085 * v["smile"] * (2 * across - 1)
    gap = 0.10 * v["mouth_open"] * across.clamp(min=0)
    inside = torch.maximum((canvas.y - centre).abs() - gap, canvas.x.abs() - half_width)
    lips = inside - 0.034 - 0.016 * v["lipstick"]
    lipstick = v["lipstick"][:, :, 0]
    canvas.paint(
        canvas.cover(lips), _colour(LIPS, hair) * (1 - lipstick) + _colour(LIPSTICK, hair) * lipstick
    )
    canvas.paint(canvas.cover(inside) * v["mouth_open"], _colour(MOUTH, hair))
    teeth = torch.maximum(inside, canvas.y - centre + 0.25 * gap)
    canvas.paint(canvas.cover(teeth + 0.012) * v["mouth_open"], _colour(TEETH, hair))


def _eyes(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor) -> None:
    size = 0.80 + 0.50 * v["eye_size"]
    blue = v["blue_eyes"][:, :, 0]
    iris = _colour(EYE_BROWN, hair) * (1 - blue) + _colour(EYE_BLUE, hair) * blue
    for side in (-1, 1):
        cx = side * (0.185 + 0.055 * v["eye_spacing"])
        canvas.paint(canvas.cover(canvas.ellipse(cx, 0.0, 0.125 * size, 0.105 * size)), _colour(TEETH, hair))
        canvas.paint(canvas.cover(canvas.ellipse(cx, 0.0, 0.085 * size, 0.085 * size)), iris)
        canvas.paint(
            canvas.cover(canvas.ellipse(cx, 0.0, 0.035 * size, 0.035 * size)), _colour((0.02,) * 3, hair)
        )


def _hair_front(
    canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor, head_y: float, chin: float
) -> None:
    outer = canvas.ellipse(0.0, chin - 0.06, head_x + 0.07, head_y + 0.06)
    # The hairline is a curve over x; the fringe pulls it down to just above the brows.
    parted = -0.30 + 0.75 * canvas.x.square()
    fringe = -0.185 + 0.25 * canvas.x.square() - 0.02 * torch.cos(canvas.x * 24)
    line = parted * (1 - v["fringe"]) + fringe * v["fringe"]
    shape = canvas.cover(torch.maximum(outer, (canvas.y - line) * 0.8))
    shine = 1.0 - 0.16 * ((canvas.y + 0.30) * 2.5).clamp(0, 1)
    coverage = shape * (1 - v["bald"])
    canvas.rgb += coverage.unsqueeze(1) * (hair[:, :, None, None] * shine.unsqueeze(1) - canvas.rgb)


def _brows(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor) -> None:
    thickness = 0.018 + 0.032 * v["brow_thickness"]
    for side in (-1, 1):
        cx = side * (0.185 + 0.055 * v["eye_spacing"])
        arch = -0.185 + 1.6 * (canvas.x - cx).square()
        shape = torch.maximum((canvas.y - arch).abs() - thickness, (canvas.x - cx).abs() - 0.125)
        canvas.paint(canvas.cover(shape), hair * 0.55)


def _earrings(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor) -> None:
    for side in (-1, 1):
        ring = canvas.ellipse(side * (head_x + 0.045), 0.36, 0.10, 0.12).abs() - 0.032
        canvas.paint(canvas.cover(ring) * v["earrings"], _colour(GOLD, hair))


def _glasses(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor) -> None:
    frame, worn = _colour(FRAME, hair), (v["glasses"] + v["sunglasses"]).clamp(max=1)
    arm = torch.maximum((canvas.y + 0.03).abs() - 0.022, 0.33 - canvas.x.abs())
    arm = torch.maximum(arm, canvas.x.abs() - head_x)
    bridge = torch.maximum((canvas.y + 0.03).abs() - 0.022, canvas.x.abs() - 0.06)
    canvas.paint(canvas.cover(torch.minimum(arm, bridge)) * worn, frame)
    for side in (-1, 1):
        lens = canvas.box(side * 0.215, 0.0, 0.175, 0.155, 0.11)
        canvas.paint(canvas.cover(lens) * v["sunglasses"], frame)
        glint = torch.maximum(lens + 0.05, (canvas.x - side * 0.215 + canvas.y + 0.06).abs() - 0.025)
        canvas.paint(canvas.cover(glint) * v["sunglasses"] * 0.6, _colour((0.6, 0.65, 0.75), hair))
        canvas.paint(canvas.cover(lens.abs() - 0.026) * worn, frame)


def _hat(canvas: _Canvas, v: dict[str, Tensor], hair: Tensor, head_x: Tensor) -> None:
    dome = torch.maximum(canvas.ellipse(0.0, -0.36, head_x + 0.11, 0.46), canvas.y + 0.34)
    canvas.paint(canvas.cover(canvas.ellipse(0.0, -0.84, 0.13, 0.12)) * v["hat"], _colour(HAT_BAND, hair))
    canvas.paint(canvas.cover(dome) * v["hat"], _colour(HAT, hair))
    canvas.paint(
        canvas.cover(canvas.box(0.0, -0.36, head_x + 0.14, 0.085, 0.06)) * v["hat"], _colour(HAT_BAND, hair)
    )
