"""The search for a strength: it stops where the aim is reached, and what it returns is what it measured."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from styleclip.bundles.load import Bundle, load_bundle
from styleclip.methods.face import InvertedBatch
from styleclip.methods.measures import see
from styleclip.methods.strength import LADDER, Search, seek_strength
from styleclip.seeds import sample_z


@pytest.fixture(scope="module")
def models(tiny: str) -> Bundle:
    return load_bundle(tiny, device="cpu")


@pytest.fixture(scope="module")
def batch(models: Bundle) -> InvertedBatch:
    w = models.generator.map(sample_z(0, range(6), models.generator.z_dim))
    s = models.generator.styles(w)
    return InvertedBatch(w, s, see(models, models.generator.synthesize(s)))


@pytest.fixture(scope="module")
def step(models: Bundle, batch: InvertedBatch) -> torch.Tensor:
    return 0.3 * torch.randn(batch.s.shape[1], generator=torch.Generator().manual_seed(1))


def readings(models: Bundle, images: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    return F.normalize(models.clip.encode_image(images), dim=1) @ direction


@pytest.fixture(scope="module")
def direction(models: Bundle, batch: InvertedBatch, step: torch.Tensor) -> torch.Tensor:
    moved = models.clip.encode_image(models.generator.synthesize(batch.s + 2 * step))
    return F.normalize((F.normalize(moved, dim=1) - F.normalize(batch.seen.clip, dim=1)).mean(dim=0), dim=0)


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.7, 1.0])
def test_what_is_returned_was_drawn_and_measured(models, batch, step, direction, quantile):
    before = readings(models, batch.seen.images, direction)
    after = readings(models, models.generator.synthesize(batch.s + 2 * step), direction)
    aim = float(torch.cat([before, after]).quantile(quantile))
    found = seek_strength(models, batch, Search(aim, direction, 1.0), lambda alpha: batch.s + alpha * step)
    alpha, value, reached = (found.measures[name] for name in ("alpha", "reached_value", "reached"))
    torch.testing.assert_close(found.styles, batch.s + alpha[:, None] * step)
    torch.testing.assert_close(found.images, models.generator.synthesize(found.styles), atol=1e-4, rtol=0)
    torch.testing.assert_close(value, readings(models, found.images, direction), atol=1e-4, rtol=0)
    assert torch.equal(reached, value >= aim)
    assert bool((alpha <= 4.4).all()) and bool((alpha[before >= aim] == 0).all())


def test_an_aim_that_nothing_reaches_says_so_and_an_edit_that_is_there_changes_nothing(
    models, batch, step, direction
):
    def edited(aim: float) -> tuple[torch.Tensor, torch.Tensor]:
        found = seek_strength(
            models, batch, Search(aim, direction, 1.0), lambda alpha: batch.s + alpha * step
        )
        return found.measures["reached"], found.images

    assert not edited(2.0)[0].any()
    reached, images = edited(-2.0)
    assert reached.all() and torch.equal(images, batch.seen.images)


def test_company_does_not_decide(models, batch, step, direction):
    aim = float(readings(models, batch.seen.images, direction).max()) + 0.01
    search = Search(aim, direction, 1.0)
    together = seek_strength(models, batch, search, lambda alpha: batch.s + alpha * step)
    part = batch.part(slice(2, 3), 0)
    alone = seek_strength(models, part, search, lambda alpha: part.s + alpha * step)
    torch.testing.assert_close(together.measures["alpha"][2:3], alone.measures["alpha"], atol=1e-3, rtol=0)


def test_one_pass_for_each_step_of_the_ladder_and_one_more(models, batch, step, direction):
    asked: list[torch.Tensor] = []

    def styles_at(alpha: torch.Tensor) -> torch.Tensor:
        asked.append(alpha)
        return batch.s + alpha * step

    seek_strength(models, batch, Search(0.5, direction, 1.0), styles_at)
    assert len(asked) == len(LADDER) + 1 == 6
