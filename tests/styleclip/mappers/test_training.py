"""Training on tiny networks: together as alone, stopped and continued, lost attributes, refusals."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch

from styleclip.bundles.load import Bundle, load_bundle
from styleclip.directions import embed_prompt, text_direction
from styleclip.errors import EditError
from styleclip.mappers import MapperConfig
from styleclip.mappers.training import Attribute, MapperTraining, TrainingSettings

TARGETS = ("a face with red hair", "a smiling face", "a face with a hat")
SETTINGS = TrainingSettings(steps=20, batch=3, learning_rate=0.3, microbatch=4)


@pytest.fixture(scope="module")
def models(tiny: str) -> Bundle:
    return load_bundle(tiny, device="cpu")


@pytest.fixture(scope="module")
def attributes(models: Bundle) -> list[Attribute]:
    return [
        Attribute(
            target,
            embed_prompt(models.clip, target, models.templates),
            text_direction(models.clip, target, "a face", models.templates),
            lambda_l2=0.1 * (index + 1),
            relative=float(index),
        )
        for index, target in enumerate(TARGETS)
    ]


def shape(models: Bundle, space: str = "levels") -> MapperConfig:
    if space == "s":
        return MapperConfig(
            "s", widths=tuple(layer.channels for layer in models.generator.layout.conv_layers)
        )
    return MapperConfig("levels", models.generator.w_dim, ("coarse", "medium"))


def codes(models: Bundle, step: int, count: int = 3) -> torch.Tensor:
    z = torch.randn(count, models.generator.z_dim, generator=torch.Generator().manual_seed(step))
    return models.generator.map(z)


def run(training: MapperTraining, models: Bundle, steps: int) -> list[torch.Tensor]:
    return [training.take_step(codes(models, training.step))["loss"] for _ in range(steps)]


@pytest.mark.parametrize("space", ["levels", "s"])
@pytest.mark.parametrize("optimizer", ["ranger", "adam"])
def test_attributes_train_together_as_they_do_alone(models, attributes, space, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    together = MapperTraining(models, shape(models, space), attributes, settings)
    losses = torch.stack(run(together, models, 8))
    for index, attribute in enumerate(attributes):
        alone = MapperTraining(models, shape(models, space), [attribute], settings)
        torch.testing.assert_close(
            torch.stack(run(alone, models, 8))[:, 0], losses[:, index], atol=1e-5, rtol=1e-4
        )


def test_the_loss_falls(models, attributes):
    training = MapperTraining(models, shape(models), attributes, SETTINGS)
    before = training.validate(codes(models, 999, 8))["loss"].clone()
    run(training, models, 20)
    after = training.validate(codes(models, 999, 8))["loss"]
    assert (after < before).all()
    assert [training.best[a.name] for a in attributes] == pytest.approx(after.tolist())


def test_stopped_and_continued_it_goes_on_bit_for_bit(models, attributes):
    whole = MapperTraining(models, shape(models), attributes, SETTINGS)
    run(whole, models, 10)
    first = MapperTraining(models, shape(models), attributes, SETTINGS)
    run(first, models, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = MapperTraining(models, shape(models), attributes, SETTINGS)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, models, 5)
    for name, value in whole.mappers.state_dict().items():
        assert torch.equal(value, second.mappers.state_dict()[name]), name


def test_the_split_into_microbatches_changes_nothing_but_rounding(models, attributes):
    losses = [
        torch.stack(
            run(
                MapperTraining(models, shape(models), attributes, replace(SETTINGS, microbatch=size)),
                models,
                4,
            )
        )
        for size in (1, 9)
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-4)


def test_an_attribute_whose_loss_is_no_number_stops_and_the_others_go_on(models, attributes):
    lost = replace(attributes[1], text=torch.full_like(attributes[1].text, torch.nan), relative=0.0)
    training = MapperTraining(models, shape(models), [attributes[0], lost], SETTINGS)
    alone = MapperTraining(models, shape(models), attributes[:1], SETTINGS)
    losses = torch.stack(run(training, models, 6))
    torch.testing.assert_close(losses[:, 0], torch.stack(run(alone, models, 6))[:, 0], atol=1e-5, rtol=1e-4)
    assert list(training.stopped) == [lost.name] and "step 1" in training.stopped[lost.name]
    assert all(value.isfinite().all() for value in training.mappers.state_dict().values())


def test_an_attribute_whose_gradient_alone_is_no_number_stops_as_well(models, attributes):
    """A weight so large that the loss is a number still, and what is multiplied on the way back is not."""
    lost = replace(attributes[1], lambda_clip=1e38, lambda_l2=1e37)
    training = MapperTraining(models, shape(models), [attributes[0], lost], SETTINGS)
    losses = torch.stack(run(training, models, 6))
    assert losses[0].isfinite().all() and losses[:, 0].isfinite().all()
    assert list(training.stopped) == [lost.name]
    assert all(value.isfinite().all() for value in training.mappers.state_dict().values())


def test_the_best_state_is_kept_not_the_last(models, attributes):
    training = MapperTraining(models, shape(models), attributes[:1], replace(SETTINGS, learning_rate=0.1))
    held_out = codes(models, 999, 8)
    run(training, models, 5)
    training.validate(held_out)
    best, kept = dict(training.best), training.best_mapper(0).state_dict()
    with torch.no_grad():
        for parameter in training.mappers.parameters():
            parameter.mul_(-50)
    training.validate(held_out)
    assert training.best == best
    assert all(torch.equal(value, kept[name]) for name, value in training.best_mapper(0).state_dict().items())


def test_identity_cannot_be_weighed_without_an_identity_network(models, attributes):
    without = replace(models, identity=None)
    with pytest.raises(EditError, match="names no identity network"):
        MapperTraining(without, shape(models), attributes, SETTINGS)
    free = [replace(attribute, lambda_id=0.0) for attribute in attributes]
    run(MapperTraining(without, shape(models), free, SETTINGS), models, 1)
