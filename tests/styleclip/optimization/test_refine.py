"""Refinement: nearer to the picture than the encoder, never further, and alone as in a batch."""

from __future__ import annotations

import pytest
import torch

from avatars.world.samples import sample_pictures
from styleclip import load_bundle
from styleclip.metrics import pixel_distance
from styleclip.optimization.refine import RefineSettings, refine
from styleclip.seeds import sample_z

COUNT = 6


@pytest.fixture(scope="module")
def small(tiny):
    return load_bundle(tiny, device="cpu")


@pytest.fixture(scope="module")
def problem(small):
    """Pictures that the tiny generator can draw, and codes that are near but not right."""
    generator = small.generator
    with torch.no_grad():
        z = sample_z(0, range(2 * COUNT), generator.z_dim)
        w = generator.map(z)
        images = generator.synthesize(generator.styles(w[:COUNT])).clamp(-1, 1)
        return images, w[:COUNT].lerp(w[COUNT:], 0.3)


def run(models, images, w, steps=8, identity=True, **weights):
    settings = RefineSettings(steps, **weights)
    return refine(models.generator, models.clip, models.identity if identity else None, images, w, settings)


def test_the_loss_falls_for_every_image_and_no_input_changes(small, problem):
    images, start = problem
    before = start.clone()
    found = run(small, images, start)
    assert found.w.shape == start.shape and not found.w.requires_grad
    assert bool((found.loss < found.loss_before).all())
    assert torch.equal(start, before)
    assert all(parameter.grad is None for parameter in small.generator.parameters())


def test_the_loss_is_the_documented_sum_and_belongs_to_the_codes(small, problem):
    images, start = problem
    found = run(small, images, start, lambda_clip=0.3, lambda_id=0.2, lambda_start=0.05)
    with torch.no_grad():
        spread = (start - small.generator.w_avg).square().mean(dim=(1, 2), keepdim=True).sqrt()
        for w, loss in ((start, found.loss_before), (found.w, found.loss)):
            picture = small.generator.synthesize(small.generator.styles(w))
            cosine = torch.nn.functional.cosine_similarity
            expected = (picture - images).square().mean(dim=(1, 2, 3))
            expected += 0.3 * (1 - cosine(small.clip.encode_image(picture), small.clip.encode_image(images)))
            expected += 0.2 * (1 - cosine(small.identity(picture), small.identity(images)))
            expected += 0.05 * ((w - start) / spread).square().mean(dim=(1, 2))
            torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-4)


def test_a_batch_gives_what_its_images_give_alone(small, problem):
    images, start = problem
    together = run(small, images, start, 12)
    for i in (0, 3, 4):
        alone = run(small, images[i : i + 1], start[i : i + 1], 12)
        assert (together.w[i] - alone.w[0]).abs().max() < 1e-4


def test_nothing_is_worse_than_the_start(small, problem):
    images, start = problem
    wild = run(small, images, start, 5, learning_rate=1000.0)
    assert bool((wild.loss <= wild.loss_before).all())
    none = run(small, images, start, 0)
    assert torch.equal(none.w, start) and torch.equal(none.loss, none.loss_before)


def test_a_stronger_pull_stays_nearer_to_the_start(small, problem):
    images, start = problem
    free, held = (run(small, images, start, 10, lambda_start=weight).w for weight in (0.0, 10.0))
    assert (held - start).norm() < 0.5 * (free - start).norm()


def test_it_works_without_an_identity_network_and_on_nothing(small, problem):
    images, start = problem
    assert bool(
        (run(small, images, start, identity=False).loss < run(small, images, start, 0, False).loss).all()
    )
    assert run(small, images[:0], start[:0]).w.shape == (0, *start.shape[1:])


def test_one_image_that_is_no_number_leaves_the_others_alone(small, problem):
    images, start = problem
    broken = start.clone()
    broken[1] = torch.nan
    found, sound = run(small, images, broken, 5), run(small, images, start, 5)
    others = [0, 2, 3, 4, 5]
    assert torch.equal(found.w[others], sound.w[others])


def test_held_out_avatars_come_nearer(small):
    """With the shipped weights, on pictures that no network was trained on."""
    avatars = load_bundle("avatars", device="cpu")
    images, _ = sample_pictures(4, 3)
    with torch.no_grad():
        start = avatars.encoder(images)
    found = refine(avatars.generator, avatars.clip, avatars.identity, images, start, RefineSettings(8))
    with torch.no_grad():
        before, after = (
            pixel_distance(avatars.generator.synthesize(avatars.generator.styles(w)), images)
            for w in (start, found.w)
        )
    assert after.mean() < 0.93 * before.mean()
