"""What each method costs on this machine: the paper's Table 1, measured for the bundle in use."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from prefect import task

from styleclip.bundles.load import Bundle
from styleclip.directions import channel_direction_sums, style_statistics
from styleclip.methods import METHODS, Edit, InvertedBatch, OptimizeEdit
from styleclip.methods.measures import see
from styleclip.precision import computing_in
from styleclip.seeds import sample_z
from tasks.edit.compile import compile_edits
from tasks.jobs import CostsJob
from tasks.process.limits import device_limit
from tasks.process.models import bundle
from tasks.process.stopwatch import Stopwatch

CHANNELS, IMAGES, SAMPLES = 32, 2, 1000
"""How much of the pre-processing is done to estimate the whole of it."""
DIRECTION_IMAGES = 100
"""N of the paper."""

PUBLISHED = (
    ("optimize", None, None, 98.0),
    ("mapper", None, 11 * 3600.0, 0.075),
    ("global", 4 * 3600.0, None, 0.072),
)
"""Method; seconds of pre-processing, training and inference. Table 1 of the paper, on a GTX 1080 Ti at 1024²; the
mapper's training is given there as 10 to 12 hours."""


@dataclass(frozen=True)
class CostRow:
    """Seconds of one method, None where it has no such stage; estimated_from: what of the pre-processing was timed."""

    where: str
    method: str
    preprocessing_s: float | None
    training_s: float | None
    inference_s: float
    input_dependent: bool
    latent_space: str
    estimated_from: str | None = None


def _nature(kind: type[Edit]) -> dict[str, Any]:
    return {"input_dependent": kind.input_dependent, "latent_space": kind.latent_space}


def published_costs() -> list[CostRow]:
    """The rows of the paper's table, in our units."""
    return [
        CostRow(
            "paper, GTX 1080 Ti", method, preprocessing, training, inference, **_nature(METHODS[method].edit)
        )
        for method, preprocessing, training, inference in PUBLISHED
    ]


@task(name="measure cost", task_run_name="cost: {edit.method}")
@device_limit()
@computing_in("float32")
def measure_cost(job: CostsJob, edit: Edit) -> CostRow:
    """Seconds of one method: pre-processing and training once per attribute or bundle, inference per image.

    Inference is one batch of sampled latents, timed at its second run. Pre-processing is estimated from
    some channels of some images, spread over all layers; `estimated_from` says from how much.
    """
    models = bundle(job.bundle, job.device)
    compiled = compile_edits(job.bundle, job.device, job.directions, [edit])[0]
    with torch.inference_mode():
        z = sample_z(0, range(job.batch), models.generator.z_dim).to(models.device)
        w = models.generator.map(z, truncation_psi=models.truncation_psi)
        s = models.generator.styles(w)
        batch = InvertedBatch(w, s, see(models, models.generator.synthesize(s)))
        watch = Stopwatch(models.device)
        for stage in ("warm", "timed"):
            with watch.time(stage):
                compiled.apply(models, batch)
    nature = _nature(type(edit))
    if isinstance(edit, OptimizeEdit):
        nature["latent_space"] = edit.space.upper()
    needs_directions = getattr(edit, "channels", None) or edit.method == "global"
    preprocessing, estimated_from = _preprocessing(models) if needs_directions else (None, None)
    return CostRow(
        where=f"this machine, {models.device.type}",
        method=edit.method,
        preprocessing_s=preprocessing,
        training_s=getattr(compiled, "training_seconds", None),
        inference_s=watch.ms["timed"] / 1000 / job.batch,
        estimated_from=estimated_from,
        **nature,
    )


@torch.inference_mode()
def _preprocessing(models: Bundle) -> tuple[float, str]:
    """Seconds of the whole, and what they are estimated from."""
    generator, layout = models.generator, models.generator.layout
    _, std = style_statistics(generator, SAMPLES, 0, models.truncation_psi, SAMPLES)
    z = sample_z(0, range(IMAGES), generator.z_dim).to(models.device)
    s = generator.styles(generator.map(z, truncation_psi=models.truncation_psi))
    # blocks of neighbours, as a run has them: channels of one layer share what lies before it
    count = min(CHANNELS, layout.conv_count)
    starts = [int(i * (layout.conv_count - 1) / 3) for i in range(4)]
    chosen = sorted({min(start + i, layout.conv_count - 1) for start in starts for i in range(count // 4)})
    begun = 0.0
    for part in (chosen[:2], chosen):
        begun = time.perf_counter()
        channel_direction_sums(generator, models.clip, s, part, std[layout.conv], step=models.sigma_step)
        if models.device.type == "cuda":
            torch.cuda.synchronize(models.device)
    seconds = time.perf_counter() - begun
    done, whole = len(chosen) * IMAGES, layout.conv_count * DIRECTION_IMAGES
    return (
        seconds * whole / done,
        f"{len(chosen)} of {layout.conv_count} channels, {IMAGES} of {DIRECTION_IMAGES} images",
    )
