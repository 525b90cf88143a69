"""Recipe: the identity network, with the additive angular margin loss of ArcFace (arXiv 1801.07698, equation 3)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avatars.training.bank import sample_latents
from avatars.training.judges import soften
from avatars.training.loop import Run, cosine, data_index
from avatars.world.factors import IDENTITY, INDEX, Z_DIM, factors_of
from avatars.world.renderer import render
from styleclip.checkpoints import save_native
from styleclip.networks.identity import IdentityConfig, IdentityNet

CONFIG = IdentityConfig(image_size=64, widths=(32, 48, 64, 96, 128), strides=(2, 1, 2, 2, 2), dim=64)
IDENTITIES, PICTURES = 1600, 14
STEPS, BATCH, RATE = 2000, 64, 2e-3
MARGIN, SCALE = 0.25, 20.0
SEED = 303


def sample_people(count: int, pictures: int, seed: int) -> Tensor:
    """Factors u [count · pictures, F]: the identity factors of one person are the same in all their pictures."""
    generator = torch.Generator().manual_seed(seed)
    u = factors_of(sample_latents(count * pictures, generator))
    columns = [INDEX[name] for name in IDENTITY]
    people = torch.randn(count, Z_DIM, generator=generator)[:, : len(columns)]
    u[:, columns] = people.repeat_interleave(pictures, dim=0)
    return u


def margin_loss(embedding: Tensor, centres: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy over cosines to the class centres, the true angle widened by MARGIN radians."""
    cosine_ = embedding @ F.normalize(centres, dim=1).T
    angle = torch.acos(cosine_.clamp(-1 + 1e-6, 1 - 1e-6))
    widened = torch.cos(angle + MARGIN * F.one_hot(label, len(centres)))
    return F.cross_entropy(SCALE * widened, label)


def pair_auc(embedding: Tensor, label: Tensor) -> float:
    """Probability that a pair of one person is more alike than a pair of two (area under the ROC curve)."""
    similarity = embedding @ embedding.T
    rows, columns = torch.triu_indices(len(label), len(label), offset=1)
    score, same = similarity[rows, columns], label[rows] == label[columns]
    order = torch.argsort(score)
    rank = torch.empty_like(score)
    rank[order] = torch.arange(1, len(score) + 1, dtype=score.dtype)
    positive, negative = int(same.sum()), int((~same).sum())
    return float((rank[same].double().sum() - positive * (positive + 1) / 2) / (positive * negative))


class _WithCentres(nn.Module):
    """The network and its class centres, trained together; only the network is shipped."""

    def __init__(self) -> None:
        super().__init__()
        self.network = IdentityNet(CONFIG)
        self.centres = nn.Parameter(torch.randn(IDENTITIES, CONFIG.dim))


def render_uint8(u: Tensor) -> Tensor:
    """Factors → pictures, uint8 [N, 3, 64, 64]."""
    return torch.cat([((render(part) + 1) * 127.5).round().to(torch.uint8) for part in u.split(50)])


def train(folder: Path, output: Path, device: torch.device, speed: float = 1.0) -> None:
    """Train and write the identity network; prints the AUC on people that it never saw."""
    torch.manual_seed(SEED)
    pictures = max(2, round(PICTURES * min(1.0, speed * 4)))
    cached = folder / f"people-{pictures}.pt"
    if not cached.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(render_uint8(sample_people(IDENTITIES, pictures, SEED)), cached)
    images = torch.load(cached, weights_only=True)
    model = _WithCentres().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    run = Run(folder / "identity.pt", model, optimizer, max(2, round(STEPS * speed)))

    def loss(step: int) -> Tensor:
        index = data_index(SEED, step, len(images), BATCH)
        image = soften(images[index].to(device).float() / 127.5 - 1, SEED * 1_000_003 + step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            embedding = model.network(image)
        return margin_loss(embedding, model.centres, (index // pictures).to(device))

    held_out = render_uint8(sample_people(100, 8, SEED + 1)).to(device).float() / 127.5 - 1
    for step in run.minimise(loss, lambda step: cosine(step, run.steps)):
        if step % 500 == 0 or step == run.steps:
            with torch.no_grad():
                embedding = torch.cat(
                    [run.average.module.network(part) for part in held_out.split(100)]
                ).cpu()
            print(f"held-out AUC {pair_auc(embedding, torch.arange(800) // 8):.4f}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "identity", CONFIG.to_dict(), run.average.module.network.state_dict())
