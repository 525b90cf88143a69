"""Bundles: found, refused with one clear line, loaded."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_bundle import SIZE, write_bundle

import styleclip
from styleclip.bundles.check import self_test
from styleclip.bundles.load import (
    BundleSpec,
    file_sha256,
    list_bundles,
    load_bundle,
    pick_device,
    read_bundle,
)
from styleclip.bundles.lock import forget_lock
from styleclip.checkpoints import load_generator, load_native, save_native
from styleclip.errors import BundleError, CheckpointError
from styleclip.networks.encoder import EncoderConfig, build_encoder
from styleclip.networks.generator import Generator


@pytest.fixture
def path(tmp_path):
    return write_bundle(tmp_path)


def test_everything_of_a_bundle_is_loaded_and_frozen(path):
    bundle = styleclip.load_bundle(path, device="cpu")
    assert (bundle.name, bundle.image_size, bundle.neutral) == ("tiny", SIZE, "a face")
    assert set(bundle.fingerprint) == {"generator", "clip", "identity", "encoder"}
    with torch.no_grad():
        w = bundle.encoder(torch.zeros(2, 3, 20, 20))
        image = bundle.generator.synthesize(bundle.generator.styles(w))
        assert bundle.identity(image).norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    for network in (bundle.generator, bundle.clip, bundle.identity, bundle.encoder):
        assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_a_changed_file_changes_the_fingerprint(path):
    file = path.parent / "identity.safetensors"
    before = file_sha256(file)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert file_sha256(file) != before


def test_the_users_folder_comes_first(path, monkeypatch):
    monkeypatch.setenv("STYLECLIP_BUNDLES", str(path.parent))
    shutil.copy(path, path.with_name("avatars.toml"))
    assert read_bundle("avatars").path.parent == path.parent
    assert {"tiny", "avatars"} <= set(list_bundles())


def test_a_broken_file_hides_no_other_bundle(path, monkeypatch):
    monkeypatch.setenv("STYLECLIP_BUNDLES", str(path.parent))
    path.with_name("broken.toml").write_text('neutral = "a face')
    found = list_bundles()
    assert isinstance(found["tiny"], BundleSpec) and isinstance(found["avatars"], BundleSpec)
    assert isinstance(found["broken"], BundleError) and "broken.toml cannot be read" in str(found["broken"])


def test_the_embedded_bundle_is_complete_on_paper():
    spec = read_bundle("avatars")
    assert set(spec.files) == {"generator", "clip", "judge_clip", "identity", "encoder"}
    assert spec.directions is not None and spec.mappers is not None
    assert all(path.parent.name == "weights" for path in spec.files.values())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('generator = {path = "generator.safetensors"}', "", r"lacks the section \[generator\]"),
        ('neutral = "a face"', 'neutrall = "a face"', "unknown field 'neutrall'"),
        ('clip = {checkpoint = "clip.safetensors"}', 'clip = {file = "x"}', "unknown field 'file'"),
        ('identity = {path = "identity.safetensors"}', "identity = {}", "needs a 'path'"),
        ('templates = ["{}", "a picture of {}"]', 'templates = ["a picture"]', "templates must be"),
        ('neutral = "a face"', 'neutral = "a face', "cannot be read"),
        ('path = "encoder.safetensors"', 'path = "package:nobody_here/x"', "not installed"),
        ('path = "encoder.safetensors"', 'path = "package:nobody_here.inside/x"', "not installed"),
        ('path = "encoder.safetensors"', 'path = "package:/nobody_here"', "not installed"),
        ('path = "encoder.safetensors"', 'path = "package:../nobody_here"', "not installed"),
        ('neutral = "a face"', "neutral = 5", "'neutral' must be a text"),
        ('neutral = "a face"', 'neutral = " "', "'neutral' must be a text"),
        ('neutral = "a face"', 'sigma_step = "five"', "'sigma_step' must be a number above 0"),
        ('neutral = "a face"', "truncation_psi = true", "'truncation_psi' must be a number above 0"),
        ('neutral = "a face"', "sigma_step = inf", "'sigma_step' must be a number above 0"),
        ('path = "generator.safetensors"', "path = 5", r"'path' of section \[generator\] must be a text"),
        (
            'path = "generator.safetensors"',
            'path = "g", file = "h"',
            "unknown field 'file'; known: class, licence",
        ),
        (
            '{path = "generator.safetensors"}',
            '{path = "g", class = "cat"}',
            "'class' .* must be the number of a",
        ),
        (
            '{path = "generator.safetensors"}',
            '{path = "g", class = -1}',
            "'class' .* must be the number of a",
        ),
        ('checkpoint = "clip.safetensors"', 'config = "c.json"', r"section \[clip\] needs a 'checkpoint'"),
        ('checkpoint = "clip.safetensors"', "checkpoint = 5", "'checkpoint' of section"),
        ('["{}", "a picture of {}"]', '[5, "{}"]', "templates must be"),
        ('encoder = {path = "encoder.safetensors"}', 'encoder = "encoder.safetensors"', "must be a section"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_line(path, old, new, words):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BundleError, match=words) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value) or "nobody_here" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_conditional_generator_is_held_at_the_class_of_the_bundle(path):
    plain = load_bundle(path, device="cpu")
    config = dataclasses.replace(plain.generator.config, c_dim=3)
    file = path.parent / "classes.safetensors"
    save_native(file, "generator", config.to_dict(), Generator(config).state_dict())
    conditional = load_generator(file)

    def choose(fields: str) -> Path:
        text = path.read_text().replace('{path = "generator.safetensors"}', f"{{{fields}}}")
        path.with_name("classes.toml").write_text(text)
        return path.with_name("classes.toml")

    for number in range(3):
        models = load_bundle(choose(f'path = "classes.safetensors", class = {number}'), device="cpu")
        z = torch.randn(2, 8)
        wanted = conditional.map(z, torch.eye(3)[[number, number]])
        torch.testing.assert_close(models.generator.map(z), wanted, atol=1e-5, rtol=1e-4)
        assert models.fingerprint["generator_class"] == str(number)
        assert [step.name for step in self_test(models)][:2] == ["mapping network", "affine layers"]
    for fields, message in (
        (
            'path = "classes.safetensors"',
            "generator of 3 classes: choose one with 'class', a number from 0 to 2",
        ),
        ('path = "classes.safetensors", class = 3', "a number from 0 to 2"),
        ('path = "generator.safetensors", class = 0', "knows no classes: take 'class' out"),
    ):
        with pytest.raises(BundleError, match=message):
            load_bundle(choose(fields), device="cpu")
    assert "generator_class" not in plain.fingerprint


def test_unknown_names_and_missing_files(path, monkeypatch):
    monkeypatch.setenv("STYLECLIP_BUNDLES", str(path.parent))
    with pytest.raises(BundleError, match="did you mean 'avatars'"):
        load_bundle("avatar")
    for nowhere in (path.parent / "none.toml", path.parent, "~nobody_here/x.toml"):
        with pytest.raises(BundleError, match="does not exist"):
            load_bundle(nowhere)
    for name in ("", "x" * 5000, "a\0b"):
        with pytest.raises(BundleError, match="no bundle is called"):
            load_bundle(name)
    (path.parent / "clip.safetensors").unlink()
    with pytest.raises(BundleError, match=r"bundle 'tiny' needs .*clip.safetensors \(clip\)"):
        load_bundle("tiny", device="cpu")


def test_parts_that_do_not_belong_together(path):
    config = EncoderConfig(SIZE, 3, 8, widths=[4], strides=[2], hidden=4)
    encoder = build_encoder(config.to_dict())
    save_native(path.parent / "encoder.safetensors", "encoder", config.to_dict(), encoder.state_dict())
    with pytest.raises(BundleError, match="do not belong together"):
        load_bundle(path, device="cpu")
    shutil.copy(path.parent / "identity.safetensors", path.parent / "encoder.safetensors")
    with pytest.raises(CheckpointError, match="kind 'identity'"):
        load_bundle(path, device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strides": [2]}, "its configuration makes no encoder"),
        ({"hidden": 3}, r"parameter 'hidden.weight' has shape \(16, 128\)"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_an_encoder_whose_configuration_is_not_its_own_is_one_clear_line(path, change, words):
    file = path.parent / "encoder.safetensors"
    kind, config, state = load_native(file)
    save_native(file, kind, config | change, state)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_bundle(path, device="cpu")
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_devices():
    assert pick_device("cpu").type == "cpu"
    for strange in ("gpu please", "", "meta", "mps", "cuda:-1"):
        with pytest.raises(BundleError, match="not a device"):
            pick_device(strange)
    with pytest.raises(BundleError, match="is not there"):
        pick_device("cuda:77")


def test_templates_that_have_a_name_come_from_open_clip(path):
    text, sets = path.read_text(), {}
    for name in ("imagenet", "styleclip"):
        path.write_text(text.replace('templates = ["{}", "a picture of {}"]', f'templates = "{name}"'))
        sets[name] = read_bundle(path).templates
    assert (len(sets["imagenet"]), len(sets["styleclip"])) == (80, 79)
    assert set(sets["imagenet"]) - set(sets["styleclip"]) == {"a photo of many {}."}
    assert all("{}" in template for template in sets["styleclip"])
    for published in ("ffhq", "church"):
        assert read_bundle(published).templates == sets["styleclip"]


def test_a_configuration_beside_the_weights_is_part_of_the_fingerprint(path):
    _, config, _ = load_native(path.parent / "clip.safetensors")
    beside = path.parent / "clip.json"
    beside.write_text(json.dumps(config))
    path.write_text(
        path.read_text().replace('"clip.safetensors"', '"clip.safetensors", config = "clip.json"')
    )
    before = load_bundle(path, device="cpu")
    beside.write_text(json.dumps(config | {"mean": [0.1] * 3}))
    with pytest.raises(BundleError, match=r"clip\.json \(clip_config of bundle 'tiny'\) is not the file"):
        load_bundle(path, device="cpu")
    forget_lock(read_bundle(path))
    after = load_bundle(path, device="cpu")
    changed = {role for role, mark in after.fingerprint.items() if before.fingerprint[role] != mark}
    assert changed == {"clip_config"}
    image = torch.zeros(1, 3, SIZE, SIZE)
    assert not torch.equal(before.clip.encode_image(image), after.clip.encode_image(image))


def test_models_loaded_in_inference_mode_can_be_trained_through(path):
    with torch.inference_mode():
        bundle = load_bundle(path, device="cpu")
        bundle.clip.encode_image(bundle.generator.synthesize(torch.ones(1, bundle.generator.layout.total)))
        assert len(bundle.generator.layout.conv) > 0
    s = torch.ones(1, bundle.generator.layout.total, requires_grad=True)
    embedding = bundle.clip.encode_image(bundle.generator.synthesize(s))
    (embedding.sum() + s[:, bundle.generator.layout.conv].sum()).backward()
    assert s.grad is not None and torch.isfinite(s.grad).all()


def test_bundles_are_listed_without_waiting_for_torch():
    code = "import sys, styleclip.bundles.spec as b; b.list_bundles(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
