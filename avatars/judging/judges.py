"""Two judges that read attributes off a picture; neither ever guides an edit.

The *chooser* may be used to pick strengths; the *scorer* only scores. They differ in architecture, in
initialisation and in the pictures they were trained on, and both differ in kind from the image tower of the avatars
CLIP, so that an edit which fools one network has no easy way to fool the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from avatars.world.attributes import QUANTITIES
from styleclip.checkpoints import load_native
from styleclip.errors import CheckpointError

WEIGHTS = Path(__file__).parents[1] / "weights"
Role = Literal["chooser", "scorer"]


class _Separable(nn.Module):
    """Residual block: depthwise 5×5, normalisation, two pointwise layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 2 * width, 1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _plain(outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, width, stride in ((3, 32, 2), (32, 64, 2), (64, 96, 1), (96, 128, 2), (128, 128, 2)):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 192), nn.ReLU(), nn.Linear(192, outputs))


def _separable(outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 48, 4, 4),
        _Separable(48),
        _Separable(48),
        nn.Conv2d(48, 96, 2, 2),
        _Separable(96),
        _Separable(96),
        nn.Conv2d(96, 160, 2, 2),
        _Separable(160),
        nn.GroupNorm(1, 160),
        nn.Flatten(),
        nn.Linear(160 * 16, 192),
        nn.GELU(),
        nn.Linear(192, outputs),
    )


class Judge(nn.Module):
    """Image [N, 3, 64, 64] in [−1, 1] → quantities [N, len(QUANTITIES)] in [0, 1], float32."""

    def __init__(self, architecture: Literal["plain", "separable"], outputs: int = len(QUANTITIES)) -> None:
        super().__init__()
        self.architecture = architecture
        self.network = _plain(outputs) if architecture == "plain" else _separable(outputs)

    def logits(self, image: Tensor) -> Tensor:
        """Scores before the sigmoid."""
        assert image.shape[1:] == (3, 64, 64), f"judges read 64×64 pictures, got {tuple(image.shape)}"
        return self.network(image)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(image).float())

    def config(self) -> dict[str, Any]:
        """What the weights file must say to rebuild this judge."""
        return {"architecture": self.architecture, "quantities": list(QUANTITIES)}


def load_judge(role: Role, folder: Path = WEIGHTS, device: torch.device | str = "cpu") -> Judge:
    """Load the shipped judge of a role, frozen. Raises CheckpointError when it judges other quantities."""
    path = folder / f"judge-{role}.safetensors"
    kind, config, state = load_native(path)
    if kind != "judge" or config["quantities"] != list(QUANTITIES):
        raise CheckpointError(f"{path}: not a judge of this world's quantities; train it again")
    judge = Judge(config["architecture"])
    judge.load_state_dict(state)
    return judge.eval().requires_grad_(False).to(device)


def r_squared(predicted: Tensor, target: Tensor, seen: Tensor) -> dict[str, float]:
    """R² of each quantity over the samples in which it can be seen."""
    result = {}
    for column, name in enumerate(QUANTITIES):
        rows = seen[:, column] > 0
        wanted, given = target[rows, column], predicted[rows, column]
        result[name] = 1 - float((wanted - given).square().sum() / (wanted - wanted.mean()).square().sum())
    return result
