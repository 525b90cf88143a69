"""Mapper files: our own, the published ones, and those that are neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from styleclip.checkpoints.mappers import MapperCard, load_mapper, save_mapper
from styleclip.checkpoints.native import save_native
from styleclip.errors import CheckpointError
from styleclip.mappers import LatentMapper, MapperConfig

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "e_mappers.npz")


def published(**options: str) -> dict[str, object]:
    state = {
        f"mapper.{name.removeprefix('levels/')}": torch.from_numpy(VECTORS[name])
        for name in VECTORS.files
        if name.startswith("levels/")
    }
    return {"state_dict": state | {"decoder.style.1.weight": torch.zeros(2, 2)}, "opts": options}


@pytest.mark.parametrize(
    "config",
    [
        MapperConfig("levels", 8, ("coarse", "fine")),
        MapperConfig("single", 8),
        MapperConfig("s", widths=(6, 4)),
    ],
)
def test_what_is_saved_comes_back(tmp_path, config):
    mapper = LatentMapper(config)
    card = MapperCard("smile", "a smile", "a face", "a" * 64, "b" * 64, {"lambda_l2": 0.5}, 20, 1.5)
    save_mapper(tmp_path / "m.safetensors", mapper, card)
    loaded, read = load_mapper(tmp_path / "m.safetensors")
    assert read == card and loaded.config == config
    for name, value in mapper.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_published_file_gives_the_published_output(tmp_path):
    torch.save(published(description="a smile"), tmp_path / "smile.pt")
    mapper, card = load_mapper(tmp_path / "smile.pt")
    assert (card.attribute, card.target, card.generator) == ("smile", "a smile", "")
    output = mapper(torch.from_numpy(VECTORS["x"]))[0]
    torch.testing.assert_close(output, torch.from_numpy(VECTORS["levels_out"]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda state: state.pop("mapper.course_mapping.mapping.2.bias"), "lacks the parameter"),
        (lambda state: state.update({"mapper.other": torch.zeros(1)}), "'other'"),
        (lambda state: state.clear(), "not a published mapper"),
    ],
)
def test_a_published_file_with_other_names_is_refused_in_one_line(tmp_path, break_it, message):
    content = published()
    break_it(content["state_dict"])
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_mapper(tmp_path / "odd.pt")
    assert "odd.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_another_network_is_no_mapper(tmp_path):
    save_native(tmp_path / "g.safetensors", "generator", {}, {"x": torch.zeros(1)}, dtype=torch.float32)
    with pytest.raises(CheckpointError, match="not a mapper"):
        load_mapper(tmp_path / "g.safetensors")
