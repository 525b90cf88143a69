"""Free generation (paper §4): pictures from words alone, optimized from the mean latent; there is no source."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prefect import task
from torch import Tensor

from storage.calls import keep_call
from storage.curves import write_curves
from storage.errors import StoreExists
from storage.growth import Wanted, keep_plan
from storage.images import encode_image
from storage.images_table import HASHED, images_table
from storage.latents import LatentStore
from storage.markings import GENERATED, Label
from storage.metrics import write_shard
from storage.uris import join
from styleclip.bundles.load import Bundle
from styleclip.directions import embed_prompt
from styleclip.errors import StyleclipError
from styleclip.methods.optimization import NOT_FINITE
from styleclip.metrics import clip_similarity
from styleclip.optimization import OptimizationSettings, Optimized, optimize_latents
from styleclip.pixels import to_bytes
from styleclip.precision import computing_in
from tasks.edit.rows import long_curves
from tasks.invert import unfinished
from tasks.jobs import FreeJob
from tasks.process.labels import SYSTEM
from tasks.process.limits import device_limit
from tasks.process.models import bundle
from tasks.process.plans import fingerprint_of, package_version, settings_of
from tasks.process.stopwatch import Stopwatch

FLOW = "free-generation"


@dataclass(frozen=True)
class Drawn:
    """Targets that were drawn (`ok`), or whose loss ceased to be a number; done_before: an earlier run drew them."""

    run: str
    rows: int
    ok: int
    failed: int
    latents: str
    done_before: bool


@task(name="free generation", task_run_name="free generation {job.output}")
@device_limit()
def generate(job: FreeJob, targets: dict[str, str]) -> Drawn:
    """One picture and one latent code per target (name → words).

    Only the loss of CLIP counts: there is nothing to stay near to. Writes OUTPUT/images/NAME.png, the codes to
    OUTPUT/latents.zarr, one metrics row per target and the loss curves. Raises PromptError for impossible words and
    PlanMismatch when the folder belongs to another run.
    """
    models = bundle(job.bundle, job.device)
    watch = Stopwatch(models.device)
    names = list(targets)
    with torch.no_grad(), computing_in("float32"):
        try:
            texts = torch.stack(
                [embed_prompt(models.clip, words, models.templates) for words in targets.values()]
            )
        except StyleclipError as error:
            raise type(error)(f"free generation: {error}") from error
    asked = {name: getattr(job, name) for name in ("seed", "steps", "learning_rate", "patience")}
    fingerprint = fingerprint_of(FLOW, models, job.precision) | settings_of(models) | asked
    fingerprint["targets"] = targets
    images = images_table(sorted(names), [""] * len(names), [HASHED] * len(names))
    wanted = Wanted(images, "", (), len(names), fingerprint, lambda ids, _: [""] * len(ids))
    kept = keep_plan(job.output, wanted, strict=True)
    run = kept.generation.run_id
    keep_call(job.output, FLOW, vars(job))
    generator = models.generator
    if not LatentStore.exists(job.latents):
        attrs = {"bundle": models.name, "weights": dict(models.fingerprint), "run": run}
        with suppress(StoreExists):  # another process that began with us was faster
            LatentStore.create(job.latents, names, generator.num_ws, generator.w_dim, attrs, len(names))
    if not unfinished(job.latents, run, kept.missing):
        codes = LatentStore.open(job.latents)
        return _drawn(job, codes.ok, done_before=True)
    settings = OptimizationSettings(
        steps=job.steps, learning_rate=job.learning_rate, patience=job.patience, lambda_l2=0.0
    )
    w = generator.w_avg.expand(len(names), generator.num_ws, generator.w_dim)
    with watch.time("edit"), computing_in(job.precision):
        found = optimize_latents(generator, models.clip, texts, w, settings)
    pictures = to_bytes(found.images).cpu().numpy()
    digests = {}
    for name, picture, sound in zip(names, pictures, found.finite.tolist(), strict=True):
        if sound:
            system = f"{SYSTEM}, bundle {models.name}"
            label = Label(system, package_version(), GENERATED, f'"{targets[name]}" (method optimize)')
            digests[name] = encode_image(picture, join(job.output, "images", f"{name}.png"), label.to_xmp())
    LatentStore.open(job.latents).write_shard(0, found.moved.cpu().numpy(), found.finite.cpu().numpy())
    curves = {name: values.cpu().numpy() for name, values in found.curves.items()}
    write_curves(job.output, FLOW, "shard-00000", long_curves(curves, names))
    write_shard(job.output, FLOW, run, 0, _rows(job, models, targets, texts, found, digests, watch))
    return _drawn(job, found.finite.cpu().numpy(), done_before=False)


def _drawn(job: FreeJob, ok: np.ndarray, done_before: bool) -> Drawn:
    good = int(ok.sum())
    return Drawn(job.output, len(ok), good, len(ok) - good, job.latents, done_before)


@torch.no_grad()
def _rows(
    job: FreeJob,
    models: Bundle,
    targets: dict[str, str],
    texts: Tensor,
    found: Optimized,
    digests: dict[str, str],
    watch: Stopwatch,
) -> list[dict[str, Any]]:
    """One row per target; `clip_before` is that of the mean latent's picture."""
    before = 1 - found.curves["clip_loss"][0]
    with computing_in(job.precision):
        after = clip_similarity(models.clip.encode_image(found.images), texts)
    common = {
        "path": "", "input_hash": "", "method": "optimize", "space": "w+", "lambda_l2": 0.0, "lambda_id": 0.0,
        "learning_rate": job.learning_rate, "relative": 0.0, "seed": job.seed, "bundle": job.bundle,
        "package_version": package_version(),
    } | watch.per(len(targets))  # fmt: skip
    rows = []
    for place, (name, words) in enumerate(targets.items()):
        row = common | {"image_id": name, "edit": name, "target": words, "steps": int(found.steps[place])}
        if found.finite[place]:
            row |= {"output": f"images/{name}.png", "output_sha256": digests[name]}
            row |= {"status": "ok", "clip_before": float(before[place])}
            row |= {"clip_after": float(after[place]), "clip_gain": float(after[place] - before[place])}
        else:
            row |= {"status": "failed", "error_class": "NotFinite", "reason": NOT_FINITE}
        rows.append(row)
    return rows
