"""Recipe: the avatars generator, trained supervised with growing resolution.

z decides the picture completely, so the target of every latent is known: the loss compares with the rendering, not
with a discriminator's opinion. Growing from 16 to 64 pixels matters more than anything else for sharpness; but an L1
loss over the whole picture never discovers what decides a few pixels (a mouth's curve, lipstick, earrings): the
median of a thin line that is elsewhere every second time is no line. So the last phases show twins, pairs that differ
in one factor, and average the error of the pixels in which twins differ on its own: small features count as much as
large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from avatars.training.bank import Bank
from avatars.training.loop import Run, cosine, data_index
from avatars.training.structure import CONFIG, apply_masks, build_generator
from styleclip.checkpoints import save_native
from styleclip.networks.generator import Generator


@dataclass(frozen=True)
class Phase:
    """One stage of the training; `batch` is a number of pictures, `twins` asks for pairs."""

    resolution: int
    steps: int
    batch: int
    twins: bool = False


PHASES = (
    Phase(16, 2500, 64),
    Phase(32, 3500, 48),
    Phase(64, 5000, 32),
    Phase(32, 1600, 40, True),
    Phase(64, 12500, 24, True),
)
RATE = 6e-3
TWIN_DIFFERENCE = 0.12
"""Twins differ in a pixel when a channel does by more than this (of the range of 2)."""
SEED = 11


def synthesize_at(generator: Generator, s: Tensor, resolution: int) -> Tensor:
    """The skip image of `resolution`: the network cut off there."""
    x, rgb = generator.const.unsqueeze(0).expand(len(s), -1, -1, -1), None
    for layer in generator.layout.layers:
        if layer.resolution > resolution:
            break
        x, rgb = generator._step(layer, x, rgb, s[:, layer.start : layer.stop], "none")
    assert rgb is not None
    return rgb.float()


def reconstruction_loss(image: Tensor, target: Tensor) -> Tensor:
    """Face-weighted L1 plus L1 of the gradients (sharp edges) and of 4×4 means (right colours)."""
    size = image.shape[-1]
    weight = torch.ones(size, size, device=image.device)
    weight[size // 4 : size * 7 // 8, size // 5 : size - size // 5] = 2.0
    error = image - target
    loss = (error.abs() * weight).mean()
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    loss = loss + 0.5 * (across.abs().mean() + down.abs().mean())
    return loss + 0.5 * F.avg_pool2d(error, 4).abs().mean()


def twin_loss(image: Tensor, target: Tensor) -> Tensor:
    """Mean L1 and squared error of the pixels in which twins (rows 2i and 2i + 1 of [2n, 3, H, W]) differ.

    Each pair weighs the same, however few pixels it is about; pairs that look alike are left out.
    """
    difference = (target[0::2] - target[1::2]).abs().amax(dim=1, keepdim=True)
    where = F.max_pool2d((difference > TWIN_DIFFERENCE).float(), 3, 1, 1).repeat_interleave(2, dim=0)
    error = image - target
    area = where.sum(dim=(1, 2, 3)) * 3
    per_picture = ((error.abs() + 2 * error.square()) * where).sum(dim=(1, 2, 3)) / area.clamp(min=1)
    return per_picture.sum() / (area > 0).sum().clamp(min=1)


@torch.no_grad()
def validate(generator: Generator, bank: Bank, resolution: int, device: torch.device) -> str:
    """L1 and PSNR on the last rows of the bank, which training never sees."""
    z, target = bank.batch(torch.arange(len(bank) - 256, len(bank)), device)
    error = synthesize_at(generator, generator.styles(generator.map(z)), resolution)
    error = error - F.adaptive_avg_pool2d(target, resolution)
    psnr = 10 * torch.log10(4 / error.square().mean())
    return f"held-out L1 {error.abs().mean():.4f}, PSNR {psnr:.1f} dB at {resolution} px"


def train(
    folder: Path, output: Path, bank: Bank, twins: Bank, device: torch.device, speed: float = 1.0
) -> None:
    """Train all phases and write the averaged generator to `output`; `speed` < 1 takes fewer steps (tests)."""
    generator, masks = build_generator(SEED)
    generator.to(device).to(memory_format=torch.channels_last)
    average = generator
    for number, phase in enumerate(PHASES):
        optimizer = torch.optim.Adam(generator.parameters(), lr=RATE, betas=(0.9, 0.99))
        steps = max(2, round(phase.steps * speed))
        run = Run(folder / f"generator-{number}-{phase.resolution}.pt", generator, optimizer, steps)
        last = number == len(PHASES) - 1

        def loss(step: int, number: int = number, phase: Phase = phase) -> Tensor:
            seed = SEED + 1000 * number
            if phase.twins:
                pair = 2 * data_index(seed, step, len(twins) // 2, phase.batch // 2)
                z, target = twins.batch(torch.stack([pair, pair + 1], dim=1).flatten(), device)
            else:
                z, target = bank.batch(data_index(seed, step, len(bank) - 256, phase.batch), device)
            target = F.adaptive_avg_pool2d(target, phase.resolution)
            s = generator.styles(generator.map(z))
            with torch.autocast(device.type, dtype=torch.bfloat16):
                image = synthesize_at(generator, s, phase.resolution)
            value = reconstruction_loss(image, target)
            return value + twin_loss(image, target) if phase.twins else value

        def rate(step: int, steps: int = steps, last: bool = last) -> float:
            return cosine(step, steps) if last else max(cosine(step, steps), 0.3)

        for step in run.minimise(loss, rate, lambda: apply_masks(generator, masks)):
            if step % 500 == 0 or step == steps:
                print(validate(run.average.module, bank, phase.resolution, device), flush=True)
            if step % 1000 == 0:
                export(run.average.module, masks, output)
        average = run.average.module
    export(average, masks, output)


@torch.no_grad()
def export(average: Generator, masks: dict[str, Tensor], output: Path) -> None:
    """Write the averaged weights with the mean latent that truncation needs."""
    apply_masks(average, masks)
    z = torch.randn(20_000, CONFIG.z_dim, generator=torch.Generator().manual_seed(SEED))
    average.w_avg.copy_(average.mapping(z.to(average.w_avg.device), None).mean(dim=0))
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "generator", CONFIG.to_dict(), average.state_dict())
