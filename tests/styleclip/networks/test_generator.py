"""The generator against the published implementations (vectors a and b) and against itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import arrays, largest_difference

from styleclip.checkpoints import from_nvlabs_state, from_rosinality_state
from styleclip.networks import Generator, GeneratorConfig, StyleLayout

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def nvlabs() -> tuple[Generator, dict[str, torch.Tensor]]:
    return from_nvlabs_state(arrays("a_nvlabs_state_dict.npz")), arrays("a_nvlabs_io.npz")


@pytest.fixture(scope="module")
def rosinality() -> tuple[Generator, dict[str, torch.Tensor]]:
    io = arrays("b_rosinality_io.npz")
    return from_rosinality_state(arrays("b_rosinality_state_dict.npz"), io["truncation_latent"]), io


@pytest.mark.parametrize(
    ("name", "psi", "cutoff"),
    [("psi1", 1.0, None), ("psi07_cut8", 0.7, 8), ("psi07_cut4", 0.7, 4), ("psi07_cutNone", 0.7, None)],
)
def test_mapping_and_images_agree_with_nvlabs(nvlabs, name, psi, cutoff):
    generator, io = nvlabs
    w = generator.map(io["z"].float(), truncation_psi=psi, truncation_cutoff=cutoff)
    assert largest_difference(w, io[f"ws_{name}"]) < TOLERANCE
    s = generator.styles(io[f"ws_{name}"])
    for noise in ("const", "none"):
        assert largest_difference(generator.synthesize(s, noise), io[f"img_{name}_{noise}"]) < TOLERANCE


def test_every_row_of_w_plus_feeds_its_layer(nvlabs):
    generator, io = nvlabs
    s = generator.styles(io["wplus_random"])
    assert largest_difference(generator.synthesize(s), io["img_wplus_random_const"]) < TOLERANCE


@pytest.mark.parametrize("latents", ["s", "s_wplus"])
def test_style_vectors_agree_with_nvlabs(nvlabs, latents):
    generator, io = nvlabs
    w = io["ws_psi07_cut8"] if latents == "s" else io["wplus_random"]
    s = generator.styles(w)
    for layer in generator.layout.layers:
        block, resolution = layer.name.split("_")
        theirs = io[f"{latents}_{block.replace('torgb', 'toRGB')}_resolution_{resolution}"]
        assert largest_difference(s[:, layer.start : layer.stop], theirs) < TOLERANCE


def test_rosinality_from_z_and_from_w_plus(rosinality):
    generator, io = rosinality
    w = generator.map(io["z"], truncation_psi=0.7)
    assert largest_difference(w, io["latent_from_z_trunc07"]) < TOLERANCE
    assert largest_difference(generator.synthesize(generator.styles(w)), io["img_from_z_trunc07"]) < TOLERANCE
    s = generator.styles(io["wplus"])
    assert largest_difference(generator.synthesize(s), io["img_wplus"]) < TOLERANCE
    assert largest_difference(generator.synthesize(s, "none"), io["img_wplus_zero_noise"]) < TOLERANCE


@pytest.mark.parametrize("prefix", ["s", "s_edited"])
def test_rosinality_style_vectors(rosinality, prefix):
    generator, io = rosinality
    theirs = torch.cat(
        [io[f"{prefix}_{i:02d}"].flatten(1) for i in range(len(generator.layout.layers))], dim=1
    )
    if prefix == "s":
        assert largest_difference(generator.styles(io["wplus"]), theirs) < TOLERANCE
    else:
        assert largest_difference(generator.synthesize(theirs), io["img_s_edited"]) < TOLERANCE


@settings(max_examples=8, deadline=None)
@given(
    log2=st.integers(2, 6),
    widths=st.lists(st.integers(1, 9), min_size=5, max_size=5),
    n=st.integers(1, 3),
    c_dim=st.sampled_from([0, 3]),
)
def test_any_power_of_two_and_any_channel_table(log2, widths, n, c_dim):
    channels = {4 << i: widths[i] for i in range(log2 - 1)}
    generator = Generator(GeneratorConfig(z_dim=5, w_dim=7, channels=channels, c_dim=c_dim, mapping_layers=2))
    c = torch.eye(3)[torch.arange(n) % 3] if c_dim else None
    w = generator.map(torch.randn(n, 5), c, truncation_psi=0.5)
    assert w.shape == (n, 2 * log2 - 2, 7)
    image = generator.synthesize(generator.styles(w))
    assert image.shape == (n, 3, 2**log2, 2**log2)
    assert generator.layout.conv_count == len(generator.layout.conv) == len(generator.layout.layer_of)


def test_synthesis_resumes_at_every_layer(nvlabs):
    generator, io = nvlabs
    s = generator.styles(io["wplus_random"])
    image = generator.synthesize(s)
    states = generator.checkpoint_activations(s)
    assert [generator.layout.layers[state.layer] for state in states] == list(generator.layout.conv_layers)
    for state in states:
        assert largest_difference(generator.synthesize(s, start=state), image) < 1e-5


def test_a_sample_does_not_depend_on_its_batch(nvlabs):
    generator, io = nvlabs
    s = generator.styles(io["wplus_random"])
    alone = torch.cat([generator.synthesize(s[i : i + 1]) for i in range(len(s))])
    assert largest_difference(generator.synthesize(s), alone) < 1e-5


def test_random_noise_changes_the_picture_and_constant_noise_does_not(nvlabs):
    generator, io = nvlabs
    s = generator.styles(io["ws_psi1"])
    assert largest_difference(generator.synthesize(s), generator.synthesize(s)) == 0
    assert largest_difference(generator.synthesize(s, "random"), generator.synthesize(s, "random")) > 1e-3


def test_gradients_reach_the_styles(nvlabs):
    generator, io = nvlabs
    s = generator.styles(io["ws_psi1"]).requires_grad_()
    generator.synthesize(s).square().mean().backward()
    assert s.grad is not None and (s.grad[:, generator.layout.conv] != 0).float().mean() > 0.5


def test_config_f_has_6048_editable_channels():
    channels = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    layout = StyleLayout.from_channels(channels)
    assert (layout.conv_count, layout.total, layout.num_ws) == (6048, 9088, 18)


def test_a_gap_in_the_resolutions_is_refused():
    with pytest.raises(ValueError, match="without a gap"):
        StyleLayout.from_channels({4: 8, 16: 8})
