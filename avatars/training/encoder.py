"""Recipe: the encoder, from pictures to W+ of the finished generator.

Many latents draw the same picture: of a hat one sees that it is there, not how far its factor lies beyond the
threshold. Regressed on the latent that a picture happened to come from, an encoder learns means between them that draw
something else. So it is regressed on one canonical latent per picture; then pictures are compared too, through the
frozen generator, which teaches what the latent loss weighs too little.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from avatars.training.bank import Bank
from avatars.training.generator import reconstruction_loss
from avatars.training.loop import Run, cosine, data_index
from avatars.world.factors import canonical, factors_of, uncorrelate
from styleclip.checkpoints import load_generator, save_native
from styleclip.networks.encoder import Encoder, EncoderConfig
from styleclip.networks.generator import Generator

WIDTHS, STRIDES, HIDDEN = (32, 64, 96, 128, 160), (2, 1, 2, 2, 2), 512
STEPS, BATCH, RATE = 1500, 48, 2e-3
PICTURE_FROM, PICTURE_BATCH = 0.65, 16
SEED = 505


def canonical_latents(generator: Generator, z: Tensor) -> Tensor:
    """z [N, Z_DIM] → w [N, w_dim] of the canonical factors that draw the same picture.

    Canonical factors are no normalised sample, so they enter the mapping network behind its normalisation.
    """
    named = uncorrelate(canonical(factors_of(z)))
    x = F.pad(named, (0, generator.z_dim - named.shape[1]))
    for layer in generator.mapping.layers:
        x = layer(x)
    return x


def train(
    folder: Path, output: Path, generator_path: Path, bank: Bank, device: torch.device, speed: float = 1.0
) -> None:
    """Train and write the encoder; prints the picture error on rows that it never saw."""
    torch.manual_seed(SEED)
    generator = load_generator(generator_path).to(device)
    encoder = Encoder(
        EncoderConfig(generator.resolution, generator.num_ws, generator.w_dim, WIDTHS, STRIDES, HIDDEN)
    ).to(device)
    with torch.no_grad():
        latents = torch.cat([canonical_latents(generator, part) for part in bank.z.to(device).split(4096)])
    spread = latents.std(dim=0).clamp(min=0.05 * float(latents.std()))
    encoder.w_avg.copy_(latents.mean(dim=0))
    encoder.w_std.copy_(spread)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.01)
    run = Run(folder / "encoder.pt", encoder, optimizer, max(2, round(STEPS * speed)))
    train_rows = len(bank) - 256

    def loss(step: int) -> Tensor:
        pictures = step >= PICTURE_FROM * run.steps
        index = data_index(SEED, step, train_rows, BATCH)
        image = bank.batch(index, device)[1]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            w = encoder(image)
        error = ((w - latents[index].unsqueeze(1)) / spread).square()
        value = error.clamp(max=25).mean()
        if pictures:
            s = generator.styles(w[:PICTURE_BATCH])
            with torch.autocast(device.type, dtype=torch.bfloat16):
                drawn = generator.synthesize(s)
            value = value + 2 * reconstruction_loss(drawn, image[:PICTURE_BATCH])
        return value

    held_out = bank.batch(torch.arange(train_rows, len(bank)), device)[1]
    for step in run.minimise(loss, lambda step: cosine(step, run.steps)):
        if step % 400 == 0 or step == run.steps:
            with torch.no_grad():
                drawn = generator.synthesize(generator.styles(run.average.module(held_out)))
            print(f"held-out L1 of reconstructions {(drawn - held_out).abs().mean():.4f}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "encoder", encoder.config.to_dict(), run.average.module.state_dict())
