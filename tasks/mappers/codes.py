"""The latent codes that mappers are trained on: sampled step by step, or those of inverted images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storage.errors import StorageError
from styleclip.bundles.load import Bundle
from styleclip.seeds import sample_z
from tasks.inputs.images_or_codes import finished_codes
from tasks.jobs import MapperJob
from tasks.process.models import bundle


@dataclass(frozen=True)
class Codes:
    """Latent codes of a training: `train` [N, num_ws, w_dim], None when they are sampled; held-out [V, …].

    digest: first 16 hex digits of a sha256 over the codes of the store in their order; None when they are sampled.
    """

    models: Bundle
    job: MapperJob
    train: Tensor | None
    held_out: Tensor
    digest: str | None = None

    def of_step(self, step: int) -> Tensor:
        """The batch of a step [B, num_ws, w_dim]: a function of seed and step alone."""
        if self.train is None:
            return _sampled(self.models, self.job, [f"{step}/{i}" for i in range(self.job.batch)])
        generator = torch.Generator().manual_seed(self.job.seed * 1_000_003 + step)
        index = torch.randint(len(self.train), (self.job.batch,), generator=generator)
        return self.train[index.to(self.train.device)]


@functools.lru_cache(maxsize=2)
def codes(job: MapperJob) -> Codes:
    """The latent codes of a run.

    Raises StorageError for a store that is not finished or has too few codes, BundleError for one of another generator.
    """
    models = bundle(job.bundle, job.device)
    with torch.inference_mode(False), torch.no_grad():
        if job.latents is None:
            return Codes(
                models, job, None, _sampled(models, job, [f"held out {i}" for i in range(job.validation)])
            )
        store = finished_codes(job.latents, models)
        found = store.read()[store.ok]
        digest = hashlib.sha256(found.tobytes()).hexdigest()[:16]
        w = torch.from_numpy(found)
        if len(w) <= job.validation:
            raise StorageError(
                f"{job.latents} holds {len(w)} codes, of which {job.validation} are held out: none is left to train on"
            )
        order = torch.randperm(len(w), generator=torch.Generator().manual_seed(job.seed))
        w = w[order].to(models.device)
        return Codes(models, job, w[job.validation :], w[: job.validation], digest)


@torch.no_grad()
def _sampled(models: Bundle, job: MapperJob, ids: Sequence[str]) -> Tensor:
    z = sample_z(job.seed, ids, models.generator.z_dim).to(models.device)
    return models.generator.map(z, truncation_psi=job.truncation_psi)
