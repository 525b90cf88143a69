"""What `bundle check` sees: missing, present and changed files, and networks that do not work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_bundle import write_bundle
from yunet_files import write_yunet

from styleclip.bundles.check import check_files, self_test
from styleclip.bundles.load import load_bundle
from styleclip.bundles.lock import forget_lock, lock_path
from styleclip.bundles.spec import BUILT_IN, models_folder, read_bundle
from styleclip.errors import BundleError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLECLIP_STATE", str(tmp_path / "state"))
    return write_bundle(tmp_path / "bundle")


def states(path: Path) -> dict[str, str]:
    return {each.role: each.state for each in check_files(read_bundle(path))}


def test_files_are_recorded_when_they_have_worked_and_held_to_after(path):
    assert set(states(path).values()) == {"present"} and not lock_path(read_bundle(path)).exists()
    load_bundle(path, device="cpu")
    recorded = json.loads(lock_path(read_bundle(path)).read_text())
    assert set(recorded) == {"generator", "clip", "identity", "encoder"}
    file = path.parent / "identity.safetensors"
    assert recorded["identity"]["size"] == file.stat().st_size
    shutil.copy(path.parent / "encoder.safetensors", file)
    assert states(path) == {
        "generator": "present",
        "clip": "present",
        "identity": "changed",
        "encoder": "present",
    }
    with pytest.raises(BundleError, match=r"identity of bundle 'tiny'\) is not the file .* --accept"):
        load_bundle(path, device="cpu")
    forget_lock(read_bundle(path))
    assert states(path)["identity"] == "present"


def test_a_file_that_was_only_touched_is_the_same_file(path):
    load_bundle(path, device="cpu")
    os.utime(path.parent / "generator.safetensors", (1, 1))
    load_bundle(path, device="cpu")
    assert set(states(path).values()) == {"present"}


def test_other_weights_of_the_same_size_and_time_are_noticed(path):
    load_bundle(path, device="cpu")
    file = path.parent / "generator.safetensors"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    # what this process has read it does not read again; a process that starts now has read nothing
    script = (
        "import sys; from styleclip.bundles.lock import look_at_files; "
        "from styleclip.bundles.spec import read_bundle; look_at_files(read_bundle(sys.argv[1]))"
    )
    started = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is not the file that was first used" in started.stderr


def test_records_of_earlier_versions_are_still_held_to(path):
    load_bundle(path, device="cpu")
    lock = lock_path(read_bundle(path))
    entries = json.loads(lock.read_text())
    lock.write_text(json.dumps({role: entry | {"modified": 1} for role, entry in entries.items()}))
    assert set(states(path).values()) == {"present"}
    shutil.copy(path.parent / "encoder.safetensors", path.parent / "identity.safetensors")
    assert states(path)["identity"] == "changed"


def test_a_bundle_that_cannot_be_loaded_records_nothing(path):
    shutil.copy(path.parent / "identity.safetensors", path.parent / "encoder.safetensors")
    with pytest.raises(Exception, match="identity"):
        load_bundle(path, device="cpu")
    assert not lock_path(read_bundle(path)).exists()


def test_a_damaged_record_says_so(path):
    load_bundle(path, device="cpu")
    lock_path(read_bundle(path)).write_text("{")
    with pytest.raises(BundleError, match="delete it"):
        load_bundle(path, device="cpu")


def test_a_face_detector_is_optional_and_held_to_its_first_use_all_the_same(path):
    path.write_text(
        path.read_text() + 'detector = {path = "yunet.onnx", page = "https://example.org/yunet"}\n'
    )
    assert states(path)["detector"] == "absent"
    advice = {each.role: each.advice for each in check_files(read_bundle(path))}["detector"]
    assert advice == f"get it from https://example.org/yunet, as {path.parent / 'yunet.onnx'}"
    without = load_bundle(path, device="cpu")
    assert without.detector is None and "detector" not in json.loads(lock_path(read_bundle(path)).read_text())
    assert "face detector" not in [step.name for step in self_test(without)]

    write_yunet(path.parent / "yunet.onnx")
    assert states(path)["detector"] == "present"
    with_it = load_bundle(path, device="cpu")
    assert with_it.detector == path.parent / "yunet.onnx"
    assert with_it.fingerprint == without.fingerprint, "what is computed without a detector stays the same"
    made = {step.name: step.made for step in self_test(with_it)}
    assert made["face detector"] == "no face in it", "a picture of noise"
    write_yunet(path.parent / "yunet.onnx", fixed=True)
    assert states(path)["detector"] == "changed"
    with pytest.raises(BundleError, match=r"detector of bundle 'tiny'\) is not the file that was first used"):
        load_bundle(path, device="cpu")


def test_a_missing_file_comes_with_the_page_to_get_it_from(path):
    text = path.read_text().replace(
        '{path = "identity.safetensors"}',
        '{path = "models:faces/id.pth", page = "https://example.org/id", licence = "MIT"}',
    )
    path.write_text(text)
    found = {each.role: each for each in check_files(read_bundle(path))}
    assert found["identity"].state == "missing"
    where = models_folder() / "faces" / "id.pth"
    assert found["identity"].advice == f"get it from https://example.org/id (licence: MIT), as {where}"
    assert found["generator"].advice == ""


def test_models_may_be_kept_elsewhere(path, tmp_path, monkeypatch):
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "models"))
    assert read_bundle("ffhq").generator == tmp_path / "models" / "ffhq" / "stylegan2-ffhq-config-f.pt"


@pytest.mark.parametrize("name", ["ffhq", "church"])
def test_published_bundles_say_where_every_file_is_to_be_had(name, path):
    spec = read_bundle(name)
    assert spec.path.parent == BUILT_IN
    for each in check_files(spec):
        assert (
            each.state == ("absent" if each.role == "detector" else "missing")
            and each.origin.page.startswith("https://")
            and each.origin.licence
        )
    assert (spec.identity is None) == (name == "church")
    assert len(spec.templates) > 50


def test_the_self_test_goes_through_every_network(path):
    steps = {step.name: step for step in self_test(load_bundle(path, device="cpu"))}
    assert list(steps) == [
        "mapping network", "affine layers", "synthesis network", "CLIP, picture", "CLIP, text", "identity network",
        "encoder",
    ]  # fmt: skip
    assert steps["synthesis network"].made == "1×3×16×16"


def test_the_self_test_names_the_network_that_is_broken(path):
    models = load_bundle(path, device="cpu")
    with torch.no_grad():
        next(models.identity.parameters()).fill_(torch.nan)
    with pytest.raises(BundleError, match="identity network gives numbers that are not finite"):
        self_test(models)
