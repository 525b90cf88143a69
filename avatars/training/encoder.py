"""Recipe: the encoder, from pictures to W+ of the finished generator.

The latent of every rendered picture is known, so the encoder is regressed on it first; then pictures are compared
too, through the frozen generator, which teaches it what the latent loss weighs too little.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from avatars.training.bank import Bank
from avatars.training.generator import reconstruction_loss
from avatars.training.loop import Run, cosine, data_index
from styleclip.checkpoints import load_generator, save_native
from styleclip.networks.encoder import Encoder, EncoderConfig

WIDTHS, STRIDES, HIDDEN = (32, 64, 96, 128, 160), (2, 1, 2, 2, 2), 512
STEPS, BATCH, RATE = 2600, 48, 2e-3
PICTURE_FROM, PICTURE_BATCH = 0.6, 16
SEED = 505


def train(
    folder: Path, output: Path, generator_path: Path, bank: Bank, device: torch.device, speed: float = 1.0
) -> None:
    """Train and write the encoder; prints the picture error on rows that it never saw."""
    torch.manual_seed(SEED)
    generator = load_generator(generator_path).to(device)
    encoder = Encoder(
        EncoderConfig(generator.resolution, generator.num_ws, generator.w_dim, WIDTHS, STRIDES, HIDDEN)
    ).to(device)
    encoder.w_avg.copy_(generator.w_avg)
    with torch.no_grad():
        latents = torch.cat([generator.map(part)[:, 0] for part in bank.z.to(device).split(4096)])
    spread = latents.std(dim=0).clamp(min=0.05 * float(latents.std()))
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
