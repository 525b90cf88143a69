"""What an avatar is made of: Gaussian factors u, the drawing parameters they mean, and the attributes one can name.

A latent z [N, Z_DIM] is normalised as the generator's mapping network does it, correlated on purpose
(`CORRELATIONS`), and every factor is then squashed to a drawing parameter. Presence factors use a steep sigmoid,
because half-present hats teach a generator to draw ghosts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Z_DIM = 64

IDENTITY = ("face_width", "skin", "eye_size", "nose_size", "eye_spacing", "brow_thickness", "blue_eyes")
FEATURES = (
    "hair_length",
    "bald",
    "fringe",
    "smile",
    "mouth_open",
    "glasses",
    "sunglasses",
    "hat",
    "beard",
    "lipstick",
    "earrings",
    "rosy_cheeks",
)
HAIR_COLOURS = ("black", "brown", "blond", "red", "grey", "blue")
BACKGROUNDS = ("cream", "sky", "green", "pink")

NAMES = (
    *IDENTITY,
    *FEATURES,
    *(f"hair_{colour}" for colour in HAIR_COLOURS),
    *(f"background_{colour}" for colour in BACKGROUNDS),
)
INDEX = {name: index for index, name in enumerate(NAMES)}

CORRELATIONS = (
    ("beard", "hair_length", -0.45),
    ("lipstick", "hair_length", 0.45),
    ("earrings", "lipstick", 0.35),
    ("glasses", "hair_grey", 0.35),
    ("bald", "beard", 0.3),
)
"""(dependent, cause, ρ): the dependent factor is ρ·cause + √(1−ρ²)·own noise."""

PRESENCE_SLOPE = 40.0
PRESENCE_THRESHOLD = {
    "bald": 1.0,
    "fringe": 0.2,
    "mouth_open": 0.35,
    "glasses": 0.5,
    "sunglasses": 0.9,
    "hat": 0.55,
    "beard": 0.4,
    "lipstick": 0.35,
    "earrings": 0.45,
    "rosy_cheeks": 0.45,
    "blue_eyes": 0.3,
}
COLOUR_SHARPNESS = 10.0


def correlate(z: Tensor) -> Tensor:
    """Independent z [N, ≥ len(NAMES)] → factors u [N, len(NAMES)], correlated as `CORRELATIONS` says."""
    u = z[:, : len(NAMES)].clone()
    for dependent, cause, rho in CORRELATIONS:
        column = INDEX[dependent]
        u[:, column] = rho * u[:, INDEX[cause]] + (1 - rho * rho) ** 0.5 * u[:, column]
    return u


def uncorrelate(u: Tensor) -> Tensor:
    """Inverse of `correlate`: factors u [N, F] → independent z [N, F]."""
    z = u.clone()
    for dependent, cause, rho in CORRELATIONS:
        column = INDEX[dependent]
        z[:, column] = (u[:, column] - rho * u[:, INDEX[cause]]) / (1 - rho * rho) ** 0.5
    return z


CLEARLY, WINNER, LOSER, WIDEST = 0.8, 1.3, -0.3, 1.6


def canonical(u: Tensor) -> Tensor:
    """Of all factors that draw (nearly) the same picture, one: what cannot be seen in u [N, F] is set to a fixed value.

    Presence factors stand `CLEARLY` above or below their threshold, the winning colour of a group at `WINNER` and the
    others at `LOSER`; the rest is cut at ± `WIDEST`, where squashing hides what lies beyond.
    """
    result = u.clamp(-WIDEST, WIDEST)
    for name, threshold in PRESENCE_THRESHOLD.items():
        column = INDEX[name]
        result[:, column] = threshold + CLEARLY * torch.where(u[:, column] > threshold, 1.0, -1.0)
    for prefix, colours in (("hair", HAIR_COLOURS), ("background", BACKGROUNDS)):
        columns = [INDEX[f"{prefix}_{colour}"] for colour in colours]
        won = torch.nn.functional.one_hot(u[:, columns].argmax(dim=1), len(columns)).to(u.dtype)
        result[:, columns] = LOSER + (WINNER - LOSER) * won
    return result


def causes(name: str) -> tuple[int, ...]:
    """The columns of z that a factor depends on: its own, and those of the factors that it is correlated with."""
    columns = {INDEX[name]}
    for dependent, cause, _ in CORRELATIONS:
        if dependent == name:
            columns.update(causes(cause))
    return tuple(sorted(columns))


def factors_of(z: Tensor) -> Tensor:
    """z [N, Z_DIM] as sampled → factors u [N, len(NAMES)]; z is first scaled to mean square 1, as in StyleGAN2."""
    assert z.ndim == 2 and z.shape[1] == Z_DIM, f"z must be [N, {Z_DIM}], got {tuple(z.shape)}"
    return correlate(z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt())


@dataclass(frozen=True)
class Parameters:
    """Drawing parameters: `value[name]` [N] in [0, 1] (smile in [−1, 1]); `hair` [N, 6] and
    `background` [N, 4] are mixtures."""

    value: dict[str, Tensor]
    hair: Tensor
    background: Tensor


def parameters(u: Tensor) -> Parameters:
    """Factors u [N, len(NAMES)] → drawing parameters."""
    value: dict[str, Tensor] = {}
    for name in (*IDENTITY, *FEATURES):
        x = u[:, INDEX[name]]
        if name in PRESENCE_THRESHOLD:
            value[name] = torch.sigmoid(PRESENCE_SLOPE * (x - PRESENCE_THRESHOLD[name]))
        elif name == "smile":
            value[name] = torch.tanh(1.8 * x)
        elif name == "hair_length":
            value[name] = torch.sigmoid(5.0 * x)
        else:
            value[name] = torch.sigmoid(1.8 * x)
    # Dark lenses hide what stands behind them: an avatar wears either pair, not both.
    value["glasses"] = value["glasses"] * (1 - value["sunglasses"])
    hair = u[:, [INDEX[f"hair_{colour}"] for colour in HAIR_COLOURS]]
    background = u[:, [INDEX[f"background_{colour}"] for colour in BACKGROUNDS]]
    return Parameters(
        value,
        torch.softmax(COLOUR_SHARPNESS * hair, dim=1),
        torch.softmax(COLOUR_SHARPNESS * background, dim=1),
    )
