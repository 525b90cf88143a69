"""Ranger against the trajectory of the published optimizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from styleclip.mappers import Ranger

VECTORS = {
    name: torch.from_numpy(array)
    for name, array in np.load(Path(__file__).parents[2] / "vectors" / "g_ranger.npz").items()
}


def test_the_published_trajectory():
    matrix, vector = (torch.nn.Parameter(VECTORS[f"p{i}_init"].clone()) for i in (0, 1))
    optimizer = Ranger(
        [{"params": [matrix]}, {"params": [vector], "centralize": False}], lr=float(VECTORS["lr"])
    )
    for step in range(14):
        matrix.grad, vector.grad = VECTORS["grads0"][step].clone(), VECTORS["grads1"][step].clone()
        optimizer.step()
        torch.testing.assert_close(matrix.data, VECTORS["traj0"][step], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vector.data, VECTORS["traj1"][step], atol=1e-5, rtol=1e-5)


def test_stacked_parameters_move_as_they_would_alone():
    start, gradients = torch.randn(3, 4, 5), torch.randn(20, 3, 4, 5)
    together = torch.nn.Parameter(start.clone())
    alone = [torch.nn.Parameter(start[k].clone()) for k in range(3)]
    optimizers = [Ranger([p], lr=0.1) for p in ([*alone, together])]
    for gradient in gradients:
        together.grad = gradient.clone()
        for k, parameter in enumerate(alone):
            parameter.grad = gradient[k].clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(together.data, torch.stack([p.data for p in alone]), atol=1e-6, rtol=1e-5)
