"""Latent optimization: the published loss, each image as if alone, images that stop or break leave the others alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from styleclip.bundles.load import Bundle, load_bundle
from styleclip.directions import embed_prompt
from styleclip.losses import clip_loss
from styleclip.optimization import OptimizationSettings, Optimized, optimize_latents, ramped_learning_rate
from styleclip.seeds import sample_z

STEPS = 24


@pytest.fixture(scope="module")
def models(tiny: str) -> Bundle:
    return load_bundle(tiny, device="cpu")


def codes(models: Bundle, count: int) -> Tensor:
    return models.generator.map(sample_z(1, range(count), models.generator.z_dim), truncation_psi=0.7)


def run(models: Bundle, w: Tensor, identity: nn.Module | None = None, **changes: object) -> Optimized:
    watch = changes.pop("watch", None)
    together = changes.pop("together", None)
    settings = OptimizationSettings(**({"steps": STEPS, "lambda_id": 0.1} | changes))
    text = embed_prompt(models.clip, "a face with red hair", models.templates)
    with torch.no_grad():
        # row by row, so that the sources' embeddings have no batch to depend on
        images = [models.generator.synthesize(models.generator.styles(each[None])) for each in w]
        source = torch.cat([models.identity(image) for image in images])
    return optimize_latents(
        models.generator, models.clip, text, w, settings, identity=identity or models.identity,
        source_identity=source, watch=watch, together=together,
    )  # fmt: skip


def test_one_image_follows_the_equation_of_the_paper(models):
    """The same optimization written down again, for one image and without anything that makes it fast."""
    w, settings = codes(models, 1), OptimizationSettings(steps=STEPS, lambda_l2=0.02)
    text = embed_prompt(models.clip, "a face with red hair", models.templates)
    latent = w.clone().requires_grad_()
    adam, losses = torch.optim.Adam([latent]), []
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = ramped_learning_rate(step / STEPS, 0.1)
        image = models.generator.synthesize(models.generator.styles(latent))
        seen = F.normalize(models.clip.encode_image(image), dim=1)
        loss = (1 - seen @ text).squeeze() + 0.02 * ((latent - w) ** 2).sum()
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = optimize_latents(models.generator, models.clip, text, w, settings, together=1)
    assert found.curves["loss"][:, 0].tolist() == pytest.approx(losses, abs=1e-4)
    torch.testing.assert_close(found.moved, latent.detach(), atol=1e-4, rtol=0)
    assert losses[-1] < losses[0] - 0.001


@pytest.mark.parametrize("changes", [{}, {"space": "s"}, {"space": "s", "torgb": True}, {"patience": 4}])
def test_a_batch_gives_what_its_images_give_alone(models, changes):
    w = codes(models, 6)
    together = run(models, w, **changes)
    for place in range(len(w)):
        alone = run(models, w[place : place + 1], **changes)
        torch.testing.assert_close(together.images[place], alone.images[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together.moved[place], alone.moved[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(
            together.curves["loss"][:, place], alone.curves["loss"][:, 0], atol=1e-4, rtol=0, equal_nan=True
        )
        assert together.steps[place] == alone.steps[0]


def test_the_image_belongs_to_the_latent(models):
    found = run(models, codes(models, 3))
    again = models.generator.synthesize(models.generator.styles(found.moved))
    torch.testing.assert_close(found.images, again, atol=1e-5, rtol=0)
    assert found.steps.tolist() == [STEPS] * 3 and found.finite.all()
    assert not found.images.requires_grad and not found.moved.requires_grad


@pytest.mark.parametrize("torgb", [False, True])
def test_in_s_the_channels_of_torgb_move_only_if_asked(models, torgb):
    w, layout = codes(models, 2), models.generator.layout
    moved = (run(models, w, space="s", torgb=torgb).styles - models.generator.styles(w)).abs() > 1e-4
    colours = torch.ones(layout.total, dtype=torch.bool)
    colours[layout.conv] = False
    assert moved[:, ~colours].any() and bool(moved[:, colours].any()) == torgb


def test_a_heavier_distance_keeps_latents_nearer(models):
    w = codes(models, 2)
    near, far = (run(models, w, lambda_l2=weight).curves["l2_loss"][-1] for weight in (1.0, 0.001))
    assert (near < far).all()


def test_images_stop_on_a_plateau_and_keep_the_latent_of_their_last_loss(models):
    w = codes(models, 4)
    found = run(models, w, patience=3, lambda_l2=5.0, steps=200)
    assert (found.steps < 200).all()
    clip = clip_loss(
        models.clip, found.images, embed_prompt(models.clip, "a face with red hair", models.templates)
    )
    for place, last in enumerate(found.steps.tolist()):
        curve = found.curves["loss"][:, place]
        assert curve[: last + 1].isfinite().all() and curve[last + 1 :].isnan().all()
        assert found.curves["clip_loss"][last, place].item() == pytest.approx(clip[place].item(), abs=1e-4)


class BreaksOn(nn.Module):
    """The identity network, but one image's loss ceases to be a number at its third step."""

    def __init__(self, network: nn.Module, start: Tensor) -> None:
        super().__init__()
        self.network, self.start, self.calls = network, start, 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        nearest = (image.detach() - self.start).flatten(1).abs().mean(dim=1)
        broken = (nearest < 0.5) & (self.calls > 2)
        return self.network(image) * torch.where(broken, torch.nan, 1.0)[:, None]


def test_a_loss_that_is_no_number_leaves_the_others_as_they_were(models):
    w = codes(models, 4)
    start = models.generator.synthesize(models.generator.styles(w[2:3]))
    distances = (models.generator.synthesize(models.generator.styles(w)) - start).flatten(1).abs().mean(dim=1)
    identity = BreaksOn(models.identity, start)
    sound, found = run(models, w), run(models, w, identity)
    broken = ~found.finite
    assert broken[2] and broken.sum() < 4, distances
    assert found.steps[broken].max() < 10 and found.steps[~broken].min() == STEPS
    torch.testing.assert_close(found.images[~broken], sound.images[~broken], atol=1e-4, rtol=0)


def test_pictures_on_the_way_are_seen_with_their_rows(models):
    seen: dict[int, list[int]] = {}
    run(models, codes(models, 5), steps=3, watch=lambda step, rows, images: seen.setdefault(step, []).extend(
        [row for row, image in zip(rows.tolist(), images, strict=True) if image.shape == (3, 16, 16)]
    ))  # fmt: skip
    assert seen == {step: list(range(5)) for step in range(3)}


def test_networks_stay_as_they_are(models):
    before = {name: value.clone() for name, value in models.generator.state_dict().items()}
    run(models, codes(models, 2), steps=3)
    assert all(torch.equal(value, before[name]) for name, value in models.generator.state_dict().items())
    assert all(parameter.grad is None for parameter in models.generator.parameters())


def deviations(models: Bundle) -> Tensor:
    return models.generator.styles(codes(models, 50)).std(dim=0)


@pytest.mark.parametrize("torgb", [False, True])
def test_steps_in_sigma_leave_channels_that_never_vary(models, torgb):
    w, std = codes(models, 3), deviations(models)
    still = models.generator.layout.conv[:5]
    std[still] = 0
    settings = OptimizationSettings("s", STEPS, 0.3, 0.001, torgb=torgb, in_sigma=True)
    text = embed_prompt(models.clip, "a face with red hair", models.templates)
    found = optimize_latents(models.generator, models.clip, text, w, settings, std=std)
    change = (found.styles - models.generator.styles(w)).abs().amax(dim=0)
    assert change[still].max() < 1e-6
    rest = torch.ones(len(std), dtype=torch.bool)
    rest[still] = False
    if not torgb:
        only = torch.zeros_like(rest)
        only[models.generator.layout.conv] = True
        assert change[~only].max() == 0
        rest &= only
    assert (change[rest] > 0).float().mean() > 0.9
    in_s = found.styles[:, rest] - models.generator.styles(w)[:, rest]
    assert (in_s / std[rest]).abs().max() < 0.3 * STEPS, "Adam's steps are in units of the deviation"
    assert found.curves["clip_loss"][-1].mean() < found.curves["clip_loss"][0].mean()


@pytest.mark.parametrize("disturbance", [{"clip_noise": 0.2}, {"clip_shift": 0.2}, {"latent_noise": 0.3}])
def test_every_image_is_disturbed_alike(models, disturbance):
    w = codes(models, 3)
    together = run(models, w, **disturbance)
    assert not torch.equal(together.moved, run(models, w).moved)
    for index in range(3):
        alone = run(models, w[index : index + 1], **disturbance)
        assert torch.equal(alone.moved[0], together.moved[index])
    again = models.generator.synthesize(models.generator.styles(together.moved))
    torch.testing.assert_close(together.images, again, atol=1e-5, rtol=0)


def test_chosen_channels_are_the_only_ones_that_move(models):
    w, layout = codes(models, 3), models.generator.layout
    chosen = layout.conv[[3, 11, 20]]
    text = embed_prompt(models.clip, "a face with red hair", models.templates)
    for in_sigma in (False, True):
        settings = OptimizationSettings("s", STEPS, 0.3, 0.001, in_sigma=in_sigma, latent_noise=0.5)
        found = optimize_latents(
            models.generator, models.clip, text, w, settings,
            std=deviations(models) if in_sigma else None, channels=chosen,
        )  # fmt: skip
        change = (found.styles - models.generator.styles(w)).abs().amax(dim=0)
        assert set(torch.nonzero(change)[:, 0].tolist()) == set(chosen.tolist())
        assert found.moved.shape == (3, 3)


def test_deviations_and_in_sigma_belong_together(models):
    settings = OptimizationSettings("s", 2, in_sigma=True)
    text = embed_prompt(models.clip, "a face with red hair", models.templates)
    with pytest.raises(AssertionError, match="belong together"):
        optimize_latents(models.generator, models.clip, text, codes(models, 1), settings)
