"""Ranger: rectified Adam with lookahead and gradient centralization, which the published mappers were trained with.

Rectified Adam: Liu et al. 2020, arXiv 1908.03265; lookahead: Zhang et al. 2019, arXiv 1907.08610; gradient
centralization: Yong et al. 2020, arXiv 2004.01461. torch has the first alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

RECTIFY_ABOVE = 5
"""Below this length of the simple moving average the variance is too uncertain to divide by."""


class Ranger(torch.optim.Optimizer):
    """Parameters with `centralize` in their group have the mean over the last dimension taken out of their gradients.

    Everything else works on each number for itself, so stacked networks train as they would alone.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.5,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        lookahead_every: int = 6,
        lookahead_share: float = 0.5,
        centralize: bool = True,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "lookahead_every": lookahead_every,
                "lookahead_share": lookahead_share,
                "centralize": centralize,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step from the gradients that are there; a closure is not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["slow"] = parameter.clone()
        if group["centralize"]:
            gradient = gradient - gradient.mean(dim=-1, keepdim=True)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        step = state["step"]
        state["mean"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        rate = group["lr"] / (1 - beta1**step)
        if (rectification := rectify(beta2, step)) is not None:
            denominator = state["square"].sqrt().add_(group["eps"])
            parameter.addcdiv_(state["mean"], denominator, value=-rate * rectification)
        else:
            parameter.add_(state["mean"], alpha=-rate)
        if step % group["lookahead_every"] == 0:
            state["slow"].lerp_(parameter, group["lookahead_share"])
            parameter.copy_(state["slow"])


def rectify(beta2: float, step: int) -> float | None:
    """√(1 − β₂ᵗ)·r_t of rectified Adam, algorithm 2; None while the variance is intractable."""
    longest = 2 / (1 - beta2) - 1
    decayed = beta2**step
    length = longest - 2 * step * decayed / (1 - decayed)
    if length <= RECTIFY_ABOVE:
        return None
    variance = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length)
    return math.sqrt((1 - decayed) * variance)
