"""The latent codes that mappers are trained on: sampled step by step, or those of inverted images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from storage.errors import StorageError
from storage.latents import LatentStore
from styleclip.bundle import Bundle
from styleclip.seeds import sample_z
from tasks.models import bundle


@dataclass(frozen=True)
class MapperJob:
    """What one training run is asked for; see flows.parameters.TrainMappersParams for the meanings."""

    bundle: str
    device: str
    seed: int
    output: str
    steps: int
    batch: int
    optimizer: Literal["ranger", "adam"]
    learning_rate: float
    decay: bool
    microbatch: int
    precision: Literal["float32", "bfloat16"]
    latents: str | None
    truncation_psi: float
    validation: int
    checkpoint_every: int


@dataclass(frozen=True)
class Codes:
    """Latent codes of a training: `train` [N, num_ws, w_dim], None when they are sampled; held-out [V, …]."""

    models: Bundle
    job: MapperJob
    train: Tensor | None
    held_out: Tensor

    def of_step(self, step: int) -> Tensor:
        """The batch of a step [B, num_ws, w_dim]: a function of seed and step alone."""
        if self.train is None:
            return _sampled(self.models, self.job, [f"{step}/{i}" for i in range(self.job.batch)])
        generator = torch.Generator().manual_seed(self.job.seed * 1_000_003 + step)
        index = torch.randint(len(self.train), (self.job.batch,), generator=generator)
        return self.train[index.to(self.train.device)]


@functools.lru_cache(maxsize=2)
def codes(job: MapperJob) -> Codes:
    """The latent codes of a run. Raises StorageError for a store that does not fit or has too few codes."""
    models = bundle(job.bundle, job.device)
    with torch.inference_mode(False), torch.no_grad():
        if job.latents is None:
            return Codes(
                models, job, None, _sampled(models, job, [f"held out {i}" for i in range(job.validation)])
            )
        store = LatentStore.open(job.latents)
        w = torch.from_numpy(store.read())[torch.from_numpy(store.ok)]
        wanted = (models.generator.num_ws, models.generator.w_dim)
        if tuple(w.shape[1:]) != wanted:
            raise StorageError(
                f"{job.latents} holds codes {tuple(w.shape[1:])}, the generator of '{models.name}' reads {wanted}"
            )
        if len(w) <= job.validation:
            raise StorageError(
                f"{job.latents} holds {len(w)} codes, of which {job.validation} are held out: none is left to train on"
            )
        order = torch.randperm(len(w), generator=torch.Generator().manual_seed(job.seed))
        w = w[order].to(models.device)
        return Codes(models, job, w[job.validation :], w[: job.validation])


@torch.no_grad()
def _sampled(models: Bundle, job: MapperJob, ids: Sequence[str]) -> Tensor:
    z = sample_z(job.seed, ids, models.generator.z_dim).to(models.device)
    return models.generator.map(z, truncation_psi=job.truncation_psi)
