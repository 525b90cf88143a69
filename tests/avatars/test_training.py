"""The recipes run end to end on a handful of steps, can be resumed, and make what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avatars.judging.judges import load_judge
from avatars.training import clip, encoder, generator, identity, judges
from avatars.training.bank import PART, Bank, build_bank
from avatars.training.loop import Run, data_index
from avatars.training.structure import build_generator
from styleclip.checkpoints import load_generator, load_native
from styleclip.clip import load_clip
from styleclip.errors import CheckpointError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Bank:
    folder = tmp_path_factory.mktemp("bank")
    build_bank(folder, PART)
    return Bank(folder, PART)


@pytest.fixture
def quick(monkeypatch):
    """One or two small steps per recipe."""
    phases = tuple(
        generator.Phase(p.resolution, 2, 4, p.twins) for p in (generator.PHASES[0], generator.PHASES[-1])
    )
    monkeypatch.setattr(generator, "PHASES", phases)
    for module in (encoder, identity, judges):
        monkeypatch.setattr(module, "STEPS", 2)
    for module in (clip, encoder, identity, judges):
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(
        clip, "SHAPES", {role: replace(shape, steps=2) for role, shape in clip.SHAPES.items()}
    )
    monkeypatch.setattr(identity, "IDENTITIES", 6)
    monkeypatch.setattr(identity, "PICTURES", 3)
    monkeypatch.setattr(clip, "HELD_OUT", 150)


def test_a_missing_bank_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"avatars\.training bank"):
        Bank(tmp_path, 10)


def test_generator_keeps_its_masks_and_the_encoder_fits_it(tmp_path, bank, quick):
    generator.train(tmp_path, tmp_path / "generator.safetensors", bank, bank, CPU)
    loaded = load_generator(tmp_path / "generator.safetensors")
    _, masks = build_generator(generator.SEED)
    for name, mask in masks.items():
        assert (loaded.get_parameter(name)[mask == 0] == 0).all(), name
    assert loaded.w_avg.abs().sum() > 0
    encoder.train(tmp_path, tmp_path / "encoder.safetensors", tmp_path / "generator.safetensors", bank, CPU)
    kind, config, _ = load_native(tmp_path / "encoder.safetensors")
    assert kind == "encoder" and (config["num_ws"], config["w_dim"]) == (loaded.num_ws, loaded.w_dim)


def test_the_other_recipes_make_loadable_weights(tmp_path, bank, quick):
    for role, dim in (("guide", 128), ("judge", 64)):
        clip.train(tmp_path, tmp_path / f"{role}.safetensors", bank, CPU, role=role)
        assert load_clip(checkpoint=tmp_path / f"{role}.safetensors").encode_text(["a face"]).shape == (
            1,
            dim,
        )
    identity.train(tmp_path, tmp_path / "identity.safetensors", CPU)
    assert load_native(tmp_path / "identity.safetensors")[0] == "identity"
    for role in ("chooser", "scorer"):
        judges.train(role, tmp_path, tmp_path / f"judge-{role}.safetensors", bank, CPU)
        judged = load_judge(role, tmp_path)(bank.batch(torch.arange(2))[1])
        assert judged.min() >= 0 and judged.max() <= 1
    with pytest.raises(CheckpointError):
        load_judge("chooser", tmp_path / "nowhere")


def test_a_stopped_training_goes_on_with_the_same_numbers(tmp_path):
    def start(path, steps_before_stop):
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 1)
        run = Run(path, module, torch.optim.Adam(module.parameters(), lr=0.1), 20, save_every=5)

        def loss(step):
            if step == steps_before_stop:
                raise KeyboardInterrupt
            return module(data_index(1, step, 100, 3).float()).square().mean()

        try:
            for _ in run.minimise(loss, lambda step: 1 - step / 20):
                pass
        except KeyboardInterrupt:
            pass
        return module, run

    whole, _ = start(tmp_path / "whole.pt", None)
    start(tmp_path / "stopped.pt", 12)
    resumed, run = start(tmp_path / "stopped.pt", None)
    assert run.step == 20
    assert torch.equal(whole.weight, resumed.weight)


def test_twin_loss_weighs_small_features_like_large_ones():
    target = torch.zeros(4, 3, 16, 16)
    target[0, :, 4:5, 4:5] = 1
    target[2, :, 2:14, 2:14] = 1
    wrong = target.clone()
    wrong[0], wrong[2] = 0, 0
    small = generator.twin_loss(torch.cat([wrong[:2], target[2:]]), target)
    large = generator.twin_loss(torch.cat([target[:2], wrong[2:]]), target)
    plain_small = generator.reconstruction_loss(torch.cat([wrong[:2], target[2:]]), target)
    plain_large = generator.reconstruction_loss(torch.cat([target[:2], wrong[2:]]), target)
    assert small / large > 0.1 > plain_small / plain_large
    assert generator.twin_loss(target, target) == 0
