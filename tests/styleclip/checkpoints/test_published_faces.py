"""ArcFace IR-SE50, e4e and pSp under their published names, against computations written a second time."""

from __future__ import annotations

import argparse

import pytest
import torch
from published_files import e4e_state, irse50_state
from reference import VECTORS, arrays, largest_difference
from torch.nn import functional as F

from styleclip.checkpoints import load_encoder, load_identity
from styleclip.errors import CheckpointError
from styleclip.networks.irse50 import IRSE50, crop_face

THIN = {"widths": (4, 6, 8, 10), "units": (2, 2, 3, 1), "squeeze": 2}
E4E = {"encoder_type": "Encoder4Editing"}


def norm(x, state, at):
    statistics = state[f"{at}.running_mean"], state[f"{at}.running_var"]
    return F.batch_norm(x, *statistics, state[f"{at}.weight"], state[f"{at}.bias"], False, 0, 1e-5)


def body(x, state, units):
    """Features after every unit, from the parameters alone."""
    x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = F.prelu(norm(x, state, "input_layer.1"), state["input_layer.2.weight"])
    found, number = [], 0
    for count in units:
        for position in range(count):
            at, stride = f"body.{number}", 2 if position == 0 else 1
            if f"{at}.shortcut_layer.0.weight" in state:
                short = F.conv2d(x, state[f"{at}.shortcut_layer.0.weight"], stride=stride)
                short = norm(short, state, f"{at}.shortcut_layer.1")
            else:
                short = F.max_pool2d(x, 1, stride)
            y = F.conv2d(norm(x, state, f"{at}.res_layer.0"), state[f"{at}.res_layer.1.weight"], padding=1)
            y = F.prelu(y, state[f"{at}.res_layer.2.weight"])
            y = F.conv2d(y, state[f"{at}.res_layer.3.weight"], stride=stride, padding=1)
            y = norm(y, state, f"{at}.res_layer.4")
            pooled = F.adaptive_avg_pool2d(y, 1)
            hidden = F.relu(F.conv2d(pooled, state[f"{at}.res_layer.5.fc1.weight"]))
            x = short + y * torch.sigmoid(F.conv2d(hidden, state[f"{at}.res_layer.5.fc2.weight"]))
            found.append(x)
            number += 1
    return found


def test_the_published_parameters_are_ours_name_by_name():
    lines = (VECTORS / "f_irse50_state_dict_keys.txt").read_text().split("\n")
    published = {line.split("\t")[0]: line.split("\t")[1] for line in lines if line}
    with torch.device("meta"):
        ours = IRSE50.from_state({name: value for name, value in irse50_state(seed=1).items()}).state_dict()
    assert {name: str(tuple(value.shape)) for name, value in ours.items()} == published


@pytest.mark.parametrize("counters", [True, False])  # torch before 0.4.1 kept none
def test_identity_agrees_with_the_definition(tmp_path, counters):
    state = irse50_state(**THIN, dim=5)
    kept = {k: v for k, v in state.items() if counters or not k.endswith("num_batches_tracked")}
    torch.save(kept, tmp_path / "model.pth")
    network = load_identity(tmp_path / "model.pth")
    images = torch.rand(2, 3, 300, 300) * 2 - 1
    features = body(crop_face(images), state, THIN["units"])[-1]
    flat = norm(features, state, "output_layer.0").flatten(1)
    embedding = F.linear(flat, state["output_layer.3.weight"], state["output_layer.3.bias"])
    expected = F.normalize(norm(embedding, state, "output_layer.4"), dim=1)
    assert largest_difference(network(images), expected) < 1e-5
    assert not network.training


@pytest.mark.parametrize("size", [64, 256])
def test_the_face_is_cropped_as_published(size):
    vectors = arrays("g_faces.npz")
    assert largest_difference(crop_face(vectors[f"in_{size}"]), vectors[f"face_{size}"]) < 1e-5


@pytest.mark.parametrize("kind", ["Encoder4Editing", "GradualStyleEncoder"])
@pytest.mark.parametrize("rows", [1, 14, None])
def test_the_encoder_agrees_with_the_definition(tmp_path, rows, kind):
    state = e4e_state(14, THIN["widths"], THIN["units"])
    average = None if rows is None else torch.randn(rows, 10) if rows > 1 else torch.randn(10)
    options = argparse.Namespace(encoder_type=kind, start_from_latent_avg=rows is not None, stylegan_size=256)
    content = {
        "state_dict": {f"encoder.{name}": value for name, value in state.items()}
        | {"decoder.style.1.weight": torch.zeros(2, 2)},
        "opts": options if rows == 14 else vars(options),
        "latent_avg": average,
    }
    torch.save(content, tmp_path / "e4e.pt")
    encoder = load_encoder(tmp_path / "e4e.pt")
    assert (encoder.num_ws, encoder.w_dim) == (14, 10)
    images = torch.rand(2, 3, 512, 512) * 2 - 1
    found = body(F.adaptive_avg_pool2d(images, 256), state, THIN["units"])
    fine, middle, coarse = found[3], found[6], found[7]

    def enlarged(x, like):
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)

    middle = F.conv2d(middle, state["latlayer1.weight"], state["latlayer1.bias"])
    middle = middle + enlarged(coarse, middle)
    fine = F.conv2d(fine, state["latlayer2.weight"], state["latlayer2.bias"])
    fine = fine + enlarged(middle, fine)

    def head(x, row):
        for number in range(0, 12, 2):
            at = f"styles.{row}.convs.{number}"
            if f"{at}.weight" in state:
                x = F.leaky_relu(F.conv2d(x, state[f"{at}.weight"], state[f"{at}.bias"], 2, 1))
        weight = state[f"styles.{row}.linear.weight"] / 10**0.5
        return F.linear(x.flatten(1), weight, state[f"styles.{row}.linear.bias"])

    levels = [coarse] * 3 + [middle] * 4 + [fine] * 7
    codes = [head(levels[row], row) for row in range(14)]
    if kind == "Encoder4Editing":  # pSp's codes stand alone
        codes = codes[:1] + [codes[0] + offset for offset in codes[1:]]
    expected = torch.stack(codes, dim=1)
    expected = expected if average is None else expected + average
    assert largest_difference(encoder(images), expected) < 1e-4
    assert encoder(images[:, :, :64, :64]).shape == (2, 14, 10), "small pictures are enlarged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("body.1.res_layer.4.weight"),
            r"lacks the parameter 'body\.1\.res_layer\.4\.weight'",
        ),
        (lambda state: state.pop("output_layer.3.weight"), r"output_layer\.3\.weight"),
        (lambda state: state.pop("input_layer.0.weight"), "not an IR-SE network"),
        (lambda state: state.update(extra=torch.zeros(1)), "'extra'"),
    ],
)
def test_a_wrong_identity_file_is_one_clear_line(tmp_path, change, message):
    state = irse50_state(**THIN, dim=5)
    change(state)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=message):
        load_identity(tmp_path / "model.pth")


def test_wrong_encoder_files_are_one_clear_line(tmp_path):
    path = tmp_path / "e4e.pt"
    torch.save({"state_dict": {"decoder.x": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"no parameter 'encoder\.…'"):
        load_encoder(path)
    state = {f"encoder.{name}": value for name, value in e4e_state(10, THIN["widths"], THIN["units"]).items()}
    torch.save({"state_dict": state, "opts": E4E}, path)
    with pytest.raises(CheckpointError, match="latent_avg"):
        load_encoder(path)
    torch.save({"state_dict": state, "opts": E4E, "latent_avg": torch.zeros(3, 10)}, path)
    with pytest.raises(CheckpointError, match="3 rows, the encoder makes 10"):
        load_encoder(path)
    single = {"encoder_type": "BackboneEncoderUsingLastLayerIntoW"}
    for options, words in ((single, "type 'BackboneEncoderUsingLastLayerIntoW'"), ({}, "encoder_type")):
        torch.save({"state_dict": state, "opts": options, "latent_avg": torch.zeros(10)}, path)
        with pytest.raises(CheckpointError, match=words):
            load_encoder(path)
