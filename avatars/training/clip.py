"""Recipe: the avatars CLIP, an open_clip model of custom configuration, trained contrastively.

Captions say only some of what is true, so many pictures of a batch satisfy a caption. Whether they do is known here,
and the contrastive loss (Radford et al. 2021, section 2.3) counts every satisfied pair as a positive, instead of
punishing true statements. An auxiliary regression of the quantities helps the image tower off the ground; its weight
falls to 0 in the first half and its head is thrown away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from avatars.judging.zero_shot import zero_shot
from avatars.training.bank import Bank
from avatars.training.judges import seen_loss, soften
from avatars.training.loop import Run, cosine, data_index
from avatars.world.attributes import QUANTITIES, STATEMENTS, holds, truth, visible
from avatars.world.captions import every_word, write_caption
from avatars.world.factors import factors_of, parameters
from styleclip.checkpoints import save_native
from styleclip.clip.tokenizer import CompactTokenizer

CONTEXT = 32
BATCH, RATE = 128, 2e-3
HELD_OUT = 1000
Role = Literal["guide", "judge"]


@dataclass(frozen=True)
class Shape:
    """What tells the two CLIPs apart: sizes, length of the training, and a seed of their own."""

    embed_dim: int
    width: int
    text_width: int
    steps: int
    seed: int


SHAPES: dict[Role, Shape] = {"guide": Shape(128, 24, 128, 1600, 404), "judge": Shape(64, 16, 96, 1000, 405)}


def build_config(tokenizer: CompactTokenizer, shape: Shape) -> dict[str, Any]:
    """The configuration that travels with the weights: open_clip's own keys plus vocabulary and normalisation."""
    return {
        "embed_dim": shape.embed_dim,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": shape.width, "head_width": 64},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": tokenizer.vocab_size,
            "width": shape.text_width,
            "heads": 4,
            "layers": 2,
        },
        "vocabulary": list(tokenizer.vocabulary),
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }


def build_model(config: dict[str, Any]) -> CLIP:
    """A fresh open_clip model of this configuration."""
    return CLIP(**{key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")})


class _WithHead(nn.Module):
    """CLIP and the auxiliary regression head, trained together; only CLIP is shipped."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.clip = build_model(config)
        self.head = nn.Linear(config["embed_dim"], len(QUANTITIES))


def multi_positive_loss(logits: Tensor, match: Tensor) -> Tensor:
    """Cross-entropy of logits [A, B] against the uniform distribution over each row's and column's matches."""
    rows = -(F.log_softmax(logits, dim=1) * match).sum(dim=1) / match.sum(dim=1).clamp(min=1)
    columns = -(F.log_softmax(logits, dim=0) * match).sum(dim=0) / match.sum(dim=0).clamp(min=1)
    return (rows.mean() + columns.mean()) / 2


def write_batch(true: Tensor, seed: int) -> tuple[list[str], Tensor]:
    """One caption for every avatar of whom `true` [N, S] tells what holds; and which captions suit which avatars.

    Returns (captions, match [N images, N captions] float 0/1).
    """
    rng = random.Random(seed)
    said = torch.zeros(len(true), len(STATEMENTS))
    captions = []
    for row, facts in enumerate(true.tolist()):
        caption, statements = write_caption(facts, rng)
        captions.append(caption)
        said[row, statements] = 1
    return captions, ((1 - true.float()) @ said.T == 0).float()


def train(
    folder: Path, output: Path, bank: Bank, device: torch.device, speed: float = 1.0, role: Role = "guide"
) -> None:
    """Train and write one of the two avatars CLIPs: `guide` steers edits, `judge` only measures them.

    Prints its weakest zero-shot scores on pictures that it never saw.
    """
    shape = SHAPES[role]
    torch.manual_seed(shape.seed)
    tokenizer = CompactTokenizer.from_captions(every_word(), context_length=CONTEXT)
    config = build_config(tokenizer, shape)
    model = _WithHead(config).to(device)
    model.clip.visual.to(memory_format=torch.channels_last)
    quantities = truth(parameters(factors_of(bank.z)))
    seen, true = visible(quantities).to(device), holds(quantities)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)
    run = Run(folder / f"clip-{role}.pt", model, optimizer, max(2, round(shape.steps * speed)))
    train_rows = len(bank) - HELD_OUT

    def loss(step: int) -> Tensor:
        index = data_index(shape.seed, step, train_rows, BATCH)
        image = soften(bank.batch(index, device)[1], shape.seed * 1_000_003 + step)
        captions, match = write_batch(true[index], shape.seed * 1_000_003 + step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            features = model.clip.encode_image(image.contiguous(memory_format=torch.channels_last)).float()
        words = model.clip.encode_text(tokenizer(captions).to(device))
        scale = model.clip.logit_scale.exp().clamp(max=50)
        logits = scale * F.normalize(features, dim=1) @ F.normalize(words, dim=1).T
        auxiliary = max(0.0, 1 - 2 * step / run.steps)
        value = multi_positive_loss(logits, match.to(device))
        return value + 2 * auxiliary * seen_loss(
            model.head(features), quantities[index].to(device), seen[index]
        )

    held_out = torch.arange(train_rows, len(bank))
    images = bank.batch(held_out, device)[1]

    def encode(prompts: Sequence[str]) -> Tensor:
        return run.average.module.clip.encode_text(tokenizer(prompts).to(device))

    for step in run.minimise(loss, lambda step: cosine(step, run.steps)):
        if step % 500 == 0 or step == run.steps:
            average = run.average.module.clip
            scores = zero_shot(average.encode_image, encode, images, quantities[held_out])
            worst = sorted(scores.items(), key=lambda item: item[1])[:8]
            print("zero-shot lowest:", ", ".join(f"{name} {value:.2f}" for name, value in worst), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "clip", config, run.average.module.clip.state_dict())
