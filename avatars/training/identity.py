"""Recipe: the identity network, with the additive angular margin loss of ArcFace (arXiv 1801.07698, equation 3)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avatars.judging.people import pair_auc, render_uint8, sample_people
from avatars.training.judges import soften
from avatars.training.loop import Run, cosine, data_index
from styleclip.checkpoints import save_native
from styleclip.networks.identity import IdentityConfig, IdentityNet
from styleclip.pixels import to_float

CONFIG = IdentityConfig(image_size=64, widths=(32, 48, 64, 96, 128), strides=(2, 1, 2, 2, 2), dim=64)
IDENTITIES, PICTURES = 1600, 14
STEPS, BATCH, RATE = 2000, 64, 2e-3
MARGIN, SCALE = 0.25, 20.0
SEED = 303


def margin_loss(embedding: Tensor, centres: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy over cosines to the class centres, the true angle widened by MARGIN radians."""
    cosine_ = embedding @ F.normalize(centres, dim=1).T
    angle = torch.acos(cosine_.clamp(-1 + 1e-6, 1 - 1e-6))
    widened = torch.cos(angle + MARGIN * F.one_hot(label, len(centres)))
    return F.cross_entropy(SCALE * widened, label)


class _WithCentres(nn.Module):
    """The network and its class centres, trained together; only the network is shipped."""

    def __init__(self) -> None:
        super().__init__()
        self.network = IdentityNet(CONFIG)
        self.centres = nn.Parameter(torch.randn(IDENTITIES, CONFIG.dim))


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
        image = soften(to_float(images[index].to(device)), SEED * 1_000_003 + step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            embedding = model.network(image)
        return margin_loss(embedding, model.centres, (index // pictures).to(device))

    held_out = to_float(render_uint8(sample_people(100, 8, SEED + 1)).to(device))
    for step in run.minimise(loss, lambda step: cosine(step, run.steps)):
        if step % 500 == 0 or step == run.steps:
            with torch.no_grad():
                embedding = torch.cat(
                    [run.average.module.network(part) for part in held_out.split(100)]
                ).cpu()
            print(f"held-out AUC {pair_auc(embedding, torch.arange(800) // 8):.4f}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_native(output, "identity", CONFIG.to_dict(), run.average.module.network.state_dict())
