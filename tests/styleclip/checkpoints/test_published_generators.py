"""Generators from files in the published formats agree with the published networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_files import nvlabs_generator, write_nvlabs_pickle
from reference import arrays, largest_difference

from styleclip.checkpoints import load_generator
from styleclip.errors import CheckpointError


@pytest.fixture(scope="module")
def nvlabs() -> dict[str, torch.Tensor]:
    return arrays("a_nvlabs_state_dict.npz")


@pytest.fixture(scope="module")
def rosinality() -> dict[str, torch.Tensor]:
    return arrays("b_rosinality_state_dict.npz")


@pytest.mark.parametrize(
    ("protocol", "core", "device"),
    [
        (2, "numpy.core", "cpu"),
        (3, "numpy.core", "cuda:0"),
        (4, "numpy.core", "cpu"),
        (4, "numpy._core", "cpu"),
    ],
)
def test_a_pickle_of_nvlabs_gives_the_published_images(nvlabs, tmp_path, protocol, core, device):
    network = nvlabs_generator(nvlabs)
    path = write_nvlabs_pickle(tmp_path / "network.pkl", network, protocol, core, device=device)
    generator = load_generator(path)
    io = arrays("a_nvlabs_io.npz")
    z = (io["z"]).float()
    for name, psi, cutoff in (("psi1", 1.0, None), ("psi07_cut4", 0.7, 4), ("psi07_cutNone", 0.7, None)):
        w = generator.map(z, truncation_psi=psi, truncation_cutoff=cutoff)
        assert largest_difference(w, io[f"ws_{name}"]) < 1e-4
        for noise in ("const", "none"):
            image = generator.synthesize(generator.styles(w), noise)
            assert largest_difference(image, io[f"img_{name}_{noise}"]) < 1e-4
    s = generator.styles(io["wplus_random"])
    for layer in generator.layout.layers:
        name = layer.name.replace("torgb", "toRGB").replace("_", "_resolution_")
        assert largest_difference(s[:, layer.start : layer.stop], io[f"s_wplus_{name}"]) < 1e-4
    assert not any(parameter.requires_grad for parameter in generator.parameters())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_a_file_of_rosinality_gives_the_published_images(rosinality, tmp_path, zipped, average):
    io = arrays("b_rosinality_io.npz")
    content = {"g_ema": rosinality, "g": rosinality, "args": None}
    if average:
        content["latent_avg"] = (io["truncation_latent"])[0]
    torch.save(content, tmp_path / "network.pt", _use_new_zipfile_serialization=zipped)
    generator = load_generator(tmp_path / "network.pt")
    w = io["wplus"]
    assert largest_difference(generator.synthesize(generator.styles(w)), io["img_wplus"]) < 1e-4
    z = io["z"]
    assert largest_difference(generator.map(z)[:, 0], io["w_from_z"]) < 1e-4
    truncated = generator.map(z, truncation_psi=0.7)
    if average:
        assert largest_difference(truncated, io["latent_from_z_trunc07"]) < 1e-4
        assert not generator.notes
    else:
        z = torch.randn(10_000, generator.z_dim, generator=torch.Generator().manual_seed(1))
        mean = generator.map(z)[:, 0].mean(dim=0)
        # two means of thousands of samples are near each other; 0 is far
        assert (generator.w_avg - mean).norm() < 0.1 * mean.norm()
        assert torch.equal(load_generator(tmp_path / "network.pt").w_avg, generator.w_avg)
        assert "no latent_avg" in "".join(generator.notes.values())


def test_a_file_of_rosinality_before_constant_noise_is_read_without(rosinality, tmp_path):
    io = arrays("b_rosinality_io.npz")
    old = {name: tensor for name, tensor in rosinality.items() if not name.startswith("noises.")}
    average = io["truncation_latent"][0]
    pictures = []
    for file, state in (("old.pt", old), ("new.pt", rosinality)):
        torch.save({"g_ema": state, "latent_avg": average}, tmp_path / file)
        generator = load_generator(tmp_path / file)
        pictures.append([generator.synthesize(generator.styles(io["wplus"]), n) for n in ("const", "none")])
        assert bool(generator.notes) == (state is old)
    assert torch.equal(pictures[0][0], pictures[1][1]) and torch.equal(pictures[0][1], pictures[1][1])


def test_multiplier_and_clamp_are_read_from_the_pickle(nvlabs, tmp_path):
    layers = {
        f"synthesis__b{r}__{n}": {"conv_clamp": 0.1}
        for r in (4, 8, 16, 32)
        for n in ("conv0", "conv1", "torgb")
    }
    del layers["synthesis__b4__conv0"]
    network = nvlabs_generator(nvlabs, mapping__fc0={"bias_gain": 0.02}, **layers)
    generator = load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", network))
    assert generator.config.mapping_lr_multiplier == 0.02 and generator.config.conv_clamp == 0.1
    plain = load_generator(write_nvlabs_pickle(tmp_path / "plain.pkl", nvlabs_generator(nvlabs)))
    w = plain.map(torch.randn(2, plain.z_dim))
    clamped, free = (g.synthesize(g.styles(w)) for g in (generator, plain))
    # one picture per resolution, each from clamped colours, summed up by filters of gain 1
    assert clamped.abs().max() <= 4 * 0.1 + 1e-4 < free.abs().max()


def test_channels_last_strides_and_arrays_that_dill_wrote_change_nothing(nvlabs, tmp_path):
    """As fp16 training in NHWC leaves its weights, and as StyleGAN-XL pickles its StyleGAN2 class."""
    strided = {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in nvlabs.items()
    }
    odd = nvlabs_generator(strided, synthesis={"block_resolutions": np.array([4, 8, 16])})
    plain = load_generator(write_nvlabs_pickle(tmp_path / "plain.pkl", nvlabs_generator(nvlabs)))
    ours = load_generator(write_nvlabs_pickle(tmp_path / "odd.pkl", odd, dill=True))
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in plain.state_dict().items())


def test_a_class_conditional_generator_is_read_with_its_classes(nvlabs, tmp_path):
    wide = dict(nvlabs)
    wide["mapping.embed.weight"], wide["mapping.embed.bias"] = torch.randn(64, 5), torch.randn(64)
    wide["mapping.fc0.weight"] = torch.randn(64, 128)
    generator = load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(wide)))
    assert (generator.config.c_dim, generator.z_dim) == (5, 64)
    z, c = torch.randn(2, 64), torch.eye(5)[:2]
    assert largest_difference(generator.map(z, c)[0], generator.map(z, c.flip(0))[0]) > 1e-3


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"synthesis__b8": {"architecture": "resnet"}}, "'resnet'.*only 'skip'"),
        ({"synthesis__b8__conv1": {"activation": "relu"}}, "'relu'.*only 'lrelu'"),
        ({"synthesis__b8__conv1": {"use_noise": False}}, "use_noise=False"),
        ({"synthesis__b8__conv1": {"conv_clamp": 256}}, "clamped differently"),
        ({"mapping__fc0": {"bias_gain": "much"}}, "a number is needed"),
    ],
)
def test_what_would_be_computed_differently_is_refused_by_name(nvlabs, tmp_path, attributes, message):
    path = write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(nvlabs, **attributes))
    with pytest.raises(CheckpointError, match=message):
        load_generator(path)


def test_another_filter_is_refused(nvlabs, rosinality, tmp_path):
    other = dict(nvlabs) | {"synthesis.b8.resample_filter": torch.full((4, 4), 1 / 16)}
    path = write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(other))
    with pytest.raises(CheckpointError, match=r"b8\.resample_filter"):
        load_generator(path)
    name = next(key for key in rosinality if key.endswith("blur.kernel"))
    torch.save({"g_ema": dict(rosinality) | {name: torch.full((4, 4), 0.25)}}, tmp_path / "network.pt")
    with pytest.raises(CheckpointError, match=name):
        load_generator(tmp_path / "network.pt")


@pytest.mark.parametrize("dill", [False, True])  # StyleGAN-XL pickles with it
def test_stylegan3_is_not_supported_and_says_why(tmp_path, dill):
    state = {
        "synthesis.input.freqs": torch.randn(4, 2),
        "synthesis.L0_36_512.weight": torch.randn(4, 4, 3, 3),
    }
    network = nvlabs_generator(state, synthesis__input={"bandwidth": np.ones(2), "size": np.array([36, 36])})
    path = write_nvlabs_pickle(tmp_path / "network.pkl", network, dill=dill)
    with pytest.raises(CheckpointError, match="StyleGAN3 generator: not supported, because"):
        load_generator(path)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("mapping.fc1.weight", torch.zeros(5, 64), "layer_features"),
        ("synthesis.b8.torgb.weight", torch.zeros(4, 8, 1, 1), "4 channels"),
    ],
)
def test_other_widths_and_colours_are_refused_by_name(nvlabs, tmp_path, name, tensor, words):
    network = nvlabs_generator(dict(nvlabs) | {name: tensor})
    with pytest.raises(CheckpointError, match=words):
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", network))


@pytest.mark.parametrize("missing", ["mapping.w_avg", "synthesis.b16.conv0.affine.bias"])
def test_a_missing_parameter_is_named(nvlabs, tmp_path, missing):
    state = {name: value for name, value in nvlabs.items() if name != missing}
    with pytest.raises(CheckpointError, match=missing):
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(state)))


def test_files_without_a_generator_say_so(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no generator under 'g_ema'"):
        load_generator(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no generator under 'G_ema'"):
        load_generator(write_nvlabs_pickle(tmp_path / "other.pkl", None))
