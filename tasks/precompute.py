"""The three units of precompute: style statistics, one block of channels, the finished directions."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from prefect import task
from torch import Tensor

from storage.calls import absolute
from storage.directions import DirectionStore
from storage.errors import Failure, StoreExists
from styleclip.bundles.load import Bundle
from styleclip.directions import (
    STATISTICS_BATCH,
    channel_direction_sums,
    resultant_length,
    style_statistics,
)
from styleclip.errors import EditError, StyleclipError
from styleclip.precision import computing_in
from styleclip.seeds import sample_z
from tasks.jobs import PrecomputeJob
from tasks.process.limits import device_limit
from tasks.process.memory import Halving
from tasks.process.models import bundle, readings
from tasks.process.plans import sees
from tasks.process.units import Sight, Unit


@dataclass(frozen=True)
class StoreState:
    """How much of a directions store is there: `missing` are the numbers of the unfinished blocks, `damaged` the files
    that could not be read, whose blocks are missing now."""

    blocks: int
    missing: list[int]
    damaged: list[str]


@dataclass(frozen=True)
class BlockDone:
    """A block's task: channels that got a direction, and the pictures of one pass in the end."""

    block: int
    channels: int
    seconds: float
    batch: int


@dataclass(frozen=True)
class FinishedStore:
    """reliability: median resultant length over the channels; 1 where all images agree on a channel's direction, near 0
    where it is noise."""

    store: str
    channels: int
    images: int
    reliability: float


def _step(job: PrecomputeJob, models: Bundle) -> float:
    return models.sigma_step if job.step is None else job.step


def _psi(job: PrecomputeJob, models: Bundle) -> float:
    return models.truncation_psi if job.truncation_psi is None else job.truncation_psi


def _identity(job: PrecomputeJob, models: Bundle) -> dict[str, Any]:
    """What makes two stores the same computation; the store's attributes, compared when a run is resumed."""
    return {
        "bundle": models.name,
        # Encoder and identity network have no part in directions: changing them must not cost hours.
        "weights": {role: models.fingerprint[role] for role in ("generator", "clip")},
        "clip": models.clip.name,
        "n_images": job.images,
        "statistics_samples": job.statistics_samples,
        "step": _step(job, models),
        "psi": _psi(job, models),
        "baseline": job.baseline,
        "precision": job.precision,
        "seed": job.seed,
        # stores of all channels, older ones too, do not say so
        "channels": [job.first, job.last] if job.first > 0 or job.last is not None else None,
    }


@functools.lru_cache(maxsize=2)
def _sizes(job: PrecomputeJob) -> Halving:
    """Channels in one pass, two pictures each; what one block learns about the memory holds for the next ones."""
    return Halving(max(1, job.batch // 2))


def _passes(count: int, work: Callable[[slice], Tensor], sizes: Halving) -> Iterator[tuple[slice, Tensor]]:
    for part, outcome in sizes.over(count, work):
        if isinstance(outcome, Failure):
            raise StyleclipError(
                "the two pictures of one channel, the least that can be done at once (--batch 2), do not fit the "
                f"memory of the device: free some of it, or choose another --device ({outcome.reason})"
            )
        yield part, outcome


def _asked(job: PrecomputeJob, block: slice) -> slice:
    """The channels of a block that the job is about; empty where there are none."""
    first = max(block.start, job.first)
    last = block.stop if job.last is None else min(block.stop, job.last)
    return slice(first, max(first, last))


def _open(job: PrecomputeJob, models: Bundle) -> DirectionStore:
    return DirectionStore.open(job.output, expected=_identity(job, models))


def _grown(job: PrecomputeJob, models: Bundle) -> DirectionStore:
    """The store, told to take on more images where the job asks for more than it was made for."""
    made_for = DirectionStore.open(job.output).attrs.get("n_images")
    if not isinstance(made_for, int) or made_for >= job.images:
        return _open(job, models)
    smaller = job.model_copy(update={"images": made_for})
    store = _open(smaller, models)
    store.grow(job.images, absolute(vars(job)))
    return store


@task(name="prepare store", task_run_name="prepare {job.output}")
@device_limit()
def prepare_store(job: PrecomputeJob) -> StoreState:
    """Make the store with its style statistics, or open the one that an earlier run of the same job has made, perhaps
    with fewer images.

    Damaged files are taken away, their blocks are missing then. Raises PlanMismatch when another job has made it,
    EditError for channels that the generator does not have.
    """
    models = bundle(job.bundle, job.device)
    count = models.generator.layout.conv_count
    if not range(count)[job.first : job.last]:
        raise EditError(
            f"no channel lies in {job.first}:{'' if job.last is None else job.last}: the generator of bundle "
            f"'{models.name}' has {count}, 0 to {count - 1}"
        )
    layout = models.generator.layout
    if not DirectionStore.exists(job.output):
        with suppress(StoreExists):  # another process that began with us was faster
            DirectionStore.create(
                job.output,
                layer_names=[layer.name for layer in layout.layers],
                **_statistics(job, models),
                dim=models.clip.dim,
                block=job.block,
                attrs=_identity(job, models) | {"call": absolute(vars(job))},
            )
    store = _grown(job, models)
    damages = store.damages()
    store.discard(damages)
    if any(damage.shard is None for damage in damages):
        store.restore_statistics(**_statistics(job, models))
    return StoreState(
        len(store.block_slices), list(store.missing_blocks()), [damage.file for damage in damages]
    )


def _statistics(job: PrecomputeJob, models: Bundle) -> dict[str, np.ndarray]:
    """mean, std, layer and channel of every convolution channel, each [C]."""
    layout = models.generator.layout
    with computing_in(job.precision):
        mean, std = style_statistics(
            models.generator, job.statistics_samples, job.seed, _psi(job, models), STATISTICS_BATCH
        )
    return {
        "mean": mean[layout.conv].cpu().numpy(),
        "std": std[layout.conv].cpu().numpy(),
        "layer": np.asarray(layout.layer_of),
        "channel": np.asarray(layout.channel_of),
    }


@device_limit()
def compute_block(job: PrecomputeJob, block: int) -> BlockDone:
    """Δi_c of one block of channels (paper §6), written as one shard; images that it holds already are kept.

    Channels that the job leaves out are written with direction 0 and count 0: no edit will ever choose them. When
    memory runs out passes are halved, for this block and those after it; `batch` are the pictures of one in the end.
    Raises StyleclipError when not even the two pictures of one channel fit.
    """
    begun = time.perf_counter()
    models = bundle(job.bundle, job.device)
    store = _open(job, models)
    whole = store.block_slices[block]
    part, device = _asked(job, whole), models.device
    width = whole.stop - whole.start
    sums, magnitudes = (np.zeros((width, models.clip.dim), np.float32) for _ in range(2))
    counts, resultants = np.zeros(width, np.int64), np.zeros(width, np.float32)
    if part.start == part.stop:
        store.write_block(block, sums, counts, resultants, magnitudes)
        return BlockDone(block, 0, time.perf_counter() - begun, job.batch)
    sizes = _sizes(job)
    with computing_in(job.precision), torch.inference_mode():
        # from seeds, not from the store: codes of N images are cheap to make and large to keep
        # a block that is done already is asked for only to be made anew
        had = found if (found := store.images_in(block)) < job.images else 0
        z = sample_z(job.seed, range(had, job.images), models.generator.z_dim).to(device)
        styles = models.generator.styles(models.generator.map(z, truncation_psi=_psi(job, models)))
        total, count, magnitude = channel_direction_sums(
            models.generator,
            models.clip,
            styles,
            range(part.start, part.stop),
            torch.from_numpy(store.std).to(device),
            step=_step(job, models),
            baseline=job.baseline,
            mean=torch.from_numpy(store.mean).to(device),
            over=functools.partial(_passes, sizes=sizes),
        )
        if had:
            inside = slice(part.start - whole.start, part.stop - whole.start)
            before = [torch.from_numpy(each[inside]).to(device) for each in store.sums_of(block)]
            total, count, magnitude = total + before[0], count + before[1], magnitude + before[2]
    inside = slice(part.start - whole.start, part.stop - whole.start)
    sums[inside], counts[inside] = total.cpu().numpy(), count.cpu().numpy()
    resultants[inside] = resultant_length(total, count).cpu().numpy()
    magnitudes[inside] = magnitude.cpu().numpy()
    store.write_block(block, sums, counts, resultants, magnitudes)
    return BlockDone(
        block,
        channels=part.stop - part.start,
        seconds=time.perf_counter() - begun,
        batch=2 * sizes.size if sizes.halvings else job.batch,
    )


def look(job: PrecomputeJob) -> Sight:
    """Load the models, and look at the store."""
    models = bundle(job.bundle, job.device)
    where = "this store" if DirectionStore.exists(job.output) else f"no store {job.output}"
    return sees(models, where)


def missing_blocks(job: PrecomputeJob) -> list[int]:
    """Blocks of channels that are not done."""
    return list(DirectionStore.open(job.output).missing_blocks())


PRECOMPUTE = Unit(
    name="block of channels", noun="block", work=compute_block, sight=look, missing=missing_blocks
)


@task(name="readings", task_run_name="readings of {job.output}")
@device_limit()
def take_readings(job: PrecomputeJob) -> int:
    """What CLIP sees in a few thousand pictures of the generator: strengths are found by it. Their number.

    Does nothing where the store keeps them already.
    """
    return len(readings(job.output, bundle(job.bundle, job.device)))


@task(name="finalize store", task_run_name="finalize {job.output}")
def finalize_store(job: PrecomputeJob) -> FinishedStore:
    """Unit rows from the sums."""
    store = _open(job, bundle(job.bundle, job.device))
    store.finalize()
    return FinishedStore(
        job.output,
        channels=int((store.count > 0).sum()),
        images=job.images,
        reliability=float(np.median(store.resultant[store.count > 0])),
    )
