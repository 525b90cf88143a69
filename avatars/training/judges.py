"""Recipe: the two judges, each from its own half of the bank."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from avatars.judging.judges import Judge, Role, r_squared
from avatars.training.bank import Bank
from avatars.training.loop import Run, cosine, data_index
from avatars.world.attributes import truth, visible
from avatars.world.factors import factors_of, parameters
from styleclip.checkpoints import save_native

STEPS, BATCH, RATE = 2400, 64, 2e-3
SEEDS: dict[Role, int] = {"chooser": 101, "scorer": 202}


def soften(image: Tensor, seed: int) -> Tensor:
    """Mix each picture with its 3×3 mean by a random share and add faint noise.

    Generators draw softer than renderers.
    """
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(len(image), 1, 1, 1, generator=generator).square().to(image.device)
    noise = 0.04 * torch.randn(image.shape, generator=generator).to(image.device) * share
    return image + share * (F.avg_pool2d(image, 3, 1, 1, count_include_pad=False) - image) + noise


def seen_loss(logits: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """Cross-entropy against soft targets, over the quantities that can be seen."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (loss * seen).sum() / seen.sum()


def train(
    role: Role, folder: Path, output: Path, bank: Bank, device: torch.device, speed: float = 1.0
) -> None:
    """Train one judge and write it; prints R² on pictures of the bank that it never saw."""
    torch.manual_seed(SEEDS[role])
    judge = Judge("plain" if role == "chooser" else "separable").to(device)
    half = (len(bank) - 1000) // 2
    offset = 0 if role == "chooser" else half
    quantities = truth(parameters(factors_of(bank.z))).to(device)
    seen = visible(quantities)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=0.02)
    run = Run(folder / f"judge-{role}.pt", judge, optimizer, max(2, round(STEPS * speed)))

    def loss(step: int) -> Tensor:
        index = offset + data_index(SEEDS[role], step, half, BATCH)
        _, image = bank.batch(index, device)
        image = soften(image, SEEDS[role] * 1_000_003 + step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = judge.logits(image)
        return seen_loss(logits, quantities[index], seen[index])

    for step in run.minimise(loss, lambda step: cosine(step, run.steps)):
        if step % 800 == 0 or step == run.steps:
            rows = torch.arange(len(bank) - 1000, len(bank))
            with torch.no_grad():
                given = torch.cat(
                    [run.average.module(bank.batch(part, device)[1]) for part in rows.split(100)]
                )
            scores = r_squared(given, quantities[rows], seen[rows])
            worst = sorted(scores.items(), key=lambda item: item[1])[:5]
            print(
                "held-out R² lowest:", ", ".join(f"{name} {value:.2f}" for name, value in worst), flush=True
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "judge", judge.config(), run.average.module.state_dict())
