"""Generators and mappers that go out are read as the published code reads them."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import arrays, largest_difference
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.checkpoints import from_nvlabs_state, from_rosinality_state, load_generator
from styleclip.checkpoints.mapper_export import save_published_mapper
from styleclip.checkpoints.mappers import MapperCard, from_published_state, load_mapper
from styleclip.checkpoints.rosinality_export import save_rosinality, to_rosinality_state
from styleclip.errors import CheckpointError
from styleclip.mappers import LatentMapper, MapperConfig
from styleclip.networks.generator import Generator


def same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """What a strict load_state_dict asks for, and the values."""
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name


def test_a_generator_of_rosinality_goes_out_as_it_came_in(tmp_path):
    published = arrays("b_rosinality_state_dict.npz")
    mean = arrays("b_rosinality_io.npz")["truncation_latent"]
    save_rosinality(tmp_path / "g.pt", from_rosinality_state(published, mean[0]))
    content = torch.load(tmp_path / "g.pt")
    same_state(content["g_ema"], published)
    assert torch.equal(content["latent_avg"], mean[0])


def test_a_generator_of_nvlabs_keeps_its_pictures_in_the_other_layout(tmp_path):
    save_rosinality(tmp_path / "g.pt", from_nvlabs_state(arrays("a_nvlabs_state_dict.npz")))
    generator, io = load_generator(tmp_path / "g.pt"), arrays("a_nvlabs_io.npz")
    w = generator.map(io["z"].float(), truncation_psi=0.7)
    assert largest_difference(w, io["ws_psi07_cutNone"]) < 1e-4
    image = generator.synthesize(generator.styles(w), "const")
    assert largest_difference(image, io["img_psi07_cutNone_const"]) < 1e-4


def test_another_multiplier_of_the_mapping_goes_into_its_weights():
    plain = from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))
    config = dataclasses.replace(plain.config, mapping_lr_multiplier=0.1)
    other = Generator(config)
    other.load_state_dict(plain.state_dict())
    z = torch.randn(2, config.z_dim)
    read = from_rosinality_state(to_rosinality_state(other), other.w_avg)
    assert (
        largest_difference(read.map(z), other.map(z)) < 1e-4 < largest_difference(read.map(z), plain.map(z))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [({"c_dim": 3}, "hold it at one with 'class'"), ({"z_dim": 4}, "one width for both")],
)
def test_a_generator_that_the_layout_cannot_hold_is_refused_and_nothing_is_written(tmp_path, change, message):
    config = from_nvlabs_state(arrays("a_nvlabs_state_dict.npz")).config
    with pytest.raises(CheckpointError, match=message):
        save_rosinality(tmp_path / "g.pt", Generator(dataclasses.replace(config, **change)))
    assert not list(tmp_path.iterdir())


def test_no_file_is_written_over(tmp_path):
    (tmp_path / "g.pt").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="is there already"):
        save_rosinality(tmp_path / "g.pt", from_nvlabs_state(arrays("a_nvlabs_state_dict.npz")))
    assert (tmp_path / "g.pt").read_bytes() == b"mine"


def published_mapper(kind: str) -> dict[str, Tensor]:
    vectors = arrays("e_mappers.npz")
    return {name.removeprefix(f"{kind}/"): vectors[name] for name in vectors if name.startswith(f"{kind}/")}


def get_keys(checkpoint: dict[str, Any], name: str) -> dict[str, Tensor]:
    """A network's part of a published checkpoint."""
    state = checkpoint["state_dict"]
    return {key[len(name) + 1 :]: value for key, value in state.items() if key[: len(name)] == name}


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("levels", "LevelsMapper"), ("single", "SingleMapper"), ("stylespace", "WithoutToRGBStyleSpaceMapper")],
)
def test_a_published_mapper_goes_out_as_it_came_in(tmp_path, kind, type_):
    published, decoder = published_mapper(kind), arrays("b_rosinality_state_dict.npz")
    card = MapperCard("smile", "a smile")
    save_published_mapper(
        tmp_path / "m.pt", from_published_state(published), card, from_rosinality_state(decoder)
    )
    checkpoint = torch.load(tmp_path / "m.pt")
    same_state(get_keys(checkpoint, "mapper"), published)
    same_state(get_keys(checkpoint, "decoder"), decoder)
    options = Namespace(**checkpoint["opts"])
    assert (options.mapper_type, options.description, options.stylegan_size) == (type_, "a smile", 32)
    assert options.work_in_stylespace == (kind == "stylespace")
    back, read = load_mapper(tmp_path / "m.pt")
    assert read.target == "a smile"
    same_state(back.state_dict(), from_published_state(published).state_dict())


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width, width)), nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * 0.01 / self.weight.shape[1] ** 0.5) + self.bias * 0.01
        return F.leaky_relu(x, 0.2) * 2**0.5


class Mapper(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(PixelNorm(), *(EqualLinear(width) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        return self.mapping(x)


class LevelsMapper(nn.Module):
    """The published one, built by the options of a checkpoint."""

    def __init__(self, opts: Namespace, width: int) -> None:
        super().__init__()
        self.opts = opts
        if not opts.no_coarse_mapper:
            self.course_mapping = Mapper(width)
        if not opts.no_medium_mapper:
            self.medium_mapping = Mapper(width)
        if not opts.no_fine_mapper:
            self.fine_mapping = Mapper(width)

    def forward(self, x: Tensor) -> Tensor:
        opts, coarse, medium, fine = self.opts, x[:, :4], x[:, 4:8], x[:, 8:]
        return torch.cat(
            [
                torch.zeros_like(coarse) if opts.no_coarse_mapper else self.course_mapping(coarse),
                torch.zeros_like(medium) if opts.no_medium_mapper else self.medium_mapping(medium),
                torch.zeros_like(fine) if opts.no_fine_mapper else self.fine_mapping(fine),
            ],
            dim=1,
        )


@pytest.mark.parametrize("levels", [("coarse", "medium", "fine"), ("coarse", "medium"), ("fine",)])
def test_a_mapper_of_ours_gives_its_steps_in_the_published_network(tmp_path: Path, levels):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        ours, x = LatentMapper(MapperConfig("levels", 8, levels)), torch.randn(2, 10, 8)
    save_published_mapper(tmp_path / "m.pt", ours, MapperCard("smile"))
    checkpoint = torch.load(tmp_path / "m.pt")
    theirs = LevelsMapper(Namespace(**checkpoint["opts"]), 8)
    theirs.load_state_dict(get_keys(checkpoint, "mapper"), strict=True)
    with torch.no_grad():
        assert largest_difference(ours(x)[0], theirs(x)) < 1e-5 < theirs(x).abs().max()
