"""Our own format: what goes in comes out, and nothing else is taken for it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import arrays, largest_difference
from safetensors.torch import save_file

from styleclip.checkpoints import (
    from_nvlabs_state,
    from_rosinality_state,
    load_generator,
    load_native,
    save_native,
)
from styleclip.errors import CheckpointError
from styleclip.networks import Generator, GeneratorConfig


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(
        GeneratorConfig(z_dim=4, w_dim=6, channels={4: 5, 8: 3}, mapping_layers=2, mapping_lr_multiplier=0.5)
    )


def save(path, generator, dtype=torch.float32):
    save_native(path, "generator", generator.config.to_dict(), generator.state_dict(), dtype)
    return path


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 0.05)])
def test_round_trip(generator, tmp_path, dtype, tolerance):
    loaded = load_generator(save(tmp_path / "g.safetensors", generator, dtype))
    z = torch.randn(2, 4)
    assert largest_difference(loaded(z), generator(z)) < tolerance
    assert loaded.config == generator.config
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_training_multipliers_travel_and_matter(generator, tmp_path):
    config = generator.config.to_dict() | {"mapping_lr_multiplier": 0.01}
    save_native(tmp_path / "g.safetensors", "generator", config, generator.state_dict(), torch.float32)
    z = torch.randn(2, 4)
    assert largest_difference(load_generator(tmp_path / "g.safetensors")(z), generator(z)) > 1e-2


def test_what_is_not_ours_is_refused(generator, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_generator(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_generator(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not in the format"):
        load_native(tmp_path / "foreign.safetensors")
    metadata = {"format": "styleclip-native", "version": "99", "kind": "generator", "config": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "future.safetensors", metadata)
    with pytest.raises(CheckpointError, match="version 99"):
        load_native(tmp_path / "future.safetensors")
    save_native(tmp_path / "other.safetensors", "encoder", {}, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="kind 'encoder'"):
        load_generator(tmp_path / "other.safetensors")


def test_missing_and_misshapen_parameters_are_named(generator, tmp_path):
    state = generator.state_dict()
    without = {name: tensor for name, tensor in state.items() if name != "w_avg"}
    save_native(tmp_path / "a.safetensors", "generator", generator.config.to_dict(), without)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: the checkpoint lacks the parameter 'w_avg'"):
        load_generator(tmp_path / "a.safetensors")
    save_native(
        tmp_path / "b.safetensors", "generator", generator.config.to_dict(), state | {"w_avg": torch.zeros(7)}
    )
    with pytest.raises(CheckpointError, match=r"b.safetensors: parameter 'w_avg' has shape \(7,\)"):
        load_generator(tmp_path / "b.safetensors")
    save_native(
        tmp_path / "c.safetensors", "generator", generator.config.to_dict(), state | {"w_std": torch.zeros(7)}
    )
    with pytest.raises(
        CheckpointError, match=r"c\.safetensors: the checkpoint has a parameter 'w_std'"
    ) as caught:
        load_generator(tmp_path / "c.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kind": "generator"},
        {"config": "{}"},
        {"kind": "generator", "config": "{"},
        {"kind": "generator", "config": "[]"},
    ],
)
def test_damaged_metadata_is_one_clear_line(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": "styleclip-native", "version": "1"} | metadata)
    with pytest.raises(CheckpointError, match=r"x\.safetensors: its kind or its configuration is missing"):
        load_native(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
        ({"channels": {"4": 5, "16": 3}}, "without a gap"),
        ({"channels": {"four": 5}}, "ValueError"),
        ({"z_dim": -3}, "'z_dim' is -3"),
        ({"z_dim": "4"}, "TypeError"),
    ],
)
def test_a_configuration_that_makes_no_network_is_one_clear_line(generator, tmp_path, change, words):
    save_native(
        tmp_path / "g.safetensors", "generator", generator.config.to_dict() | change, generator.state_dict()
    )
    with pytest.raises(
        CheckpointError, match=f"g.safetensors: its configuration makes no .*{words}"
    ) as caught:
        load_generator(tmp_path / "g.safetensors")
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_cut_file_is_never_taken_for_a_whole_one(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "g.safetensors"
    save_native(path, "generator", {}, {"a": torch.zeros(9), "b": torch.ones(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(CheckpointError, match=r"g\.safetensors: not a readable safetensors file"):
        load_native(path)


@pytest.mark.parametrize(
    ("build", "file", "missing"),
    [
        (from_nvlabs_state, "a_nvlabs_state_dict.npz", "synthesis.b8.conv0.affine.bias"),
        (from_rosinality_state, "b_rosinality_state_dict.npz", "convs.1.noise.weight"),
    ],
)
def test_an_incomplete_published_checkpoint_is_one_clear_line(build, file, missing):
    state = arrays(file)
    del state[missing]
    with pytest.raises(CheckpointError, match=f"lacks the parameter '{missing}'"):
        build(state)
    with pytest.raises(CheckpointError, match="not a StyleGAN2 generator"):
        build({"a": torch.zeros(1)})
