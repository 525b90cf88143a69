"""Mappers against the published ones, and stacks against their members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from styleclip.checkpoints.mappers import from_published_state
from styleclip.mappers import LatentMapper, MapperConfig, stack

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "e_mappers.npz")


def published(prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{prefix}/"): torch.from_numpy(VECTORS[name])
        for name in VECTORS.files
        if name.startswith(f"{prefix}/")
    }


@pytest.mark.parametrize("left_out", [None, "coarse", "medium", "fine"])
def test_levels_agree_with_the_published_mapper(left_out):
    theirs = "course" if left_out == "coarse" else left_out
    state = {key: value for key, value in published("levels").items() if not key.startswith(f"{theirs}_")}
    output = from_published_state(state)(torch.from_numpy(VECTORS["x"]))
    name = "levels_out" if left_out is None else f"levels_out_no_{left_out}_mapper"
    assert output.shape == (1, 2, 18, 64)
    torch.testing.assert_close(output[0], torch.from_numpy(VECTORS[name]), atol=1e-5, rtol=1e-5)


def test_fewer_rows_shorten_the_fine_level():
    output = from_published_state(published("levels"))(torch.from_numpy(VECTORS["x"])[:, :14])
    torch.testing.assert_close(output[0], torch.from_numpy(VECTORS["levels_out_x14"]), atol=1e-5, rtol=1e-5)


def test_a_single_network_agrees_with_the_published_one_on_w_plus_and_on_w():
    mapper = from_published_state(published("single"))
    x = torch.from_numpy(VECTORS["x"])
    torch.testing.assert_close(mapper(x)[0], torch.from_numpy(VECTORS["single_out"]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        mapper(x[:, 0])[0], torch.from_numpy(VECTORS["single_out_on_(2,64)"]), atol=1e-5, rtol=1e-5
    )


def test_the_style_space_mapper_agrees_with_the_published_one():
    mapper = from_published_state(published("stylespace"))
    convolutions = [i for i in range(11) if i not in (1, 4, 7, 10)]
    x, wanted = (
        torch.cat(
            [torch.from_numpy(VECTORS[f"stylespace_{what}_{i:02}"]).flatten(1) for i in convolutions], dim=1
        )
        for what in ("x", "out")
    )
    torch.testing.assert_close(mapper(x)[0], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        MapperConfig("levels", 8, ("coarse", "fine")),
        MapperConfig("single", 8),
        MapperConfig("s", widths=(6, 4)),
    ],
)
def test_a_stack_gives_what_its_members_give(config):
    mappers = [LatentMapper(config) for _ in range(3)]
    code = torch.randn(5, 10) if config.space == "s" else torch.randn(5, 9, 8)
    together = stack(mappers)
    outputs = together.steps(code)
    for index, mapper in enumerate(mappers):
        torch.testing.assert_close(outputs[index], mapper.steps(code)[0], atol=1e-6, rtol=1e-5)
        assert torch.equal(together.one(index)(code), mapper(code))


@pytest.mark.parametrize(
    "values",
    [
        {"space": "w"},
        {"space": "levels", "w_dim": 8, "levels": []},
        {"space": "levels", "w_dim": 8, "levels": ["course"]},
        {"space": "s", "w_dim": 8},
        {"space": "single"},
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValueError, match="mapper"):
        MapperConfig(**values)


def test_mappers_of_different_shapes_do_not_stack():
    with pytest.raises(ValueError, match="one shape"):
        stack([LatentMapper(MapperConfig("single", width)) for width in (4, 8)])
