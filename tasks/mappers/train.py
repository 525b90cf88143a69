"""The unit of a mapper training: one group of attributes, trained together, from its last checkpoint to its end."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from prefect import task
from torch import Tensor

from storage import uris
from storage.curves import write_curves
from storage.images import encode_image
from storage.run_card import keep_card
from styleclip.bundles.load import Bundle
from styleclip.checkpoints.mappers import MapperCard, save_mapper
from styleclip.edits import Edit
from styleclip.errors import EditError
from styleclip.mappers import LatentMapper, MapperConfig
from styleclip.mappers.training import TERMS, Attribute, MapperTraining, TrainingSettings
from styleclip.methods.words import embed_words
from styleclip.precision import computing_in
from tasks.jobs import MapperAttribute, MapperJob
from tasks.mappers.codes import Codes, codes
from tasks.mappers.state import FLOW, curves_part, load_state, save_state, state_uri
from tasks.process.memory import give_back, out_of_memory
from tasks.process.models import bundle
from tasks.process.plans import package_version
from tasks.process.sheets import strip

T = TypeVar("T")
SHOWN = 6
WEIGHTS = {"lambda_clip", "lambda_l2", "lambda_id", "relative"}


@dataclass(frozen=True)
class PlannedTraining:
    """continued: the folder's training goes on; latents: how many codes of a store it sees, None for sampled ones."""

    continued: bool
    latents: int | None


@dataclass(frozen=True)
class Trained:
    """A finished mapper: its file, and the state that did best on held-out codes (loss None where none was measured).

    seconds: its share of the training; stopped: why it ended early, if it did.
    """

    attribute: str
    mapper: str
    steps: int
    best_loss: float | None
    seconds: float
    microbatch: int
    stopped: str | None


@task(name="plan training")
def plan_training(job: MapperJob, attributes: list[MapperAttribute]) -> PlannedTraining:
    """Check everything before the first step, and that the folder is this run's.

    Raises EditError for attributes that cannot be trained, StorageError for latents that do not fit, PlanMismatch
    when the folder belongs to another run.
    """
    models = bundle(job.bundle, job.device)
    names = [attribute.name for attribute in attributes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EditError(f"two attributes are called '{twice[0]}': give each its own name")
    for attribute in attributes:
        _wording(models, attribute)
        if attribute.lambda_id > 0 and models.identity is None:
            raise EditError(
                f"mapper '{attribute.name}' weighs identity (lambda_id), but bundle '{models.name}' names no "
                "identity network: add one to its file, or set lambda_id to 0"
            )
    found = codes(job)
    card = job.model_dump(exclude={"output", "device", "microbatch", "latents"}) | {
        "bundle": models.name,
        "weights": dict(models.fingerprint),
        "templates": list(models.templates),
        "package_version": package_version(),
        "codes": found.digest,
        "attributes": [attribute.model_dump() for attribute in attributes],
    }
    return PlannedTraining(
        keep_card(job.output, "training", card), None if found.train is None else len(found.train)
    )


def _wording(models: Bundle, attribute: MapperAttribute) -> Attribute:
    with torch.no_grad():
        wording = embed_words(models, Edit(target=attribute.target, neutral=attribute.neutral))
    weights = attribute.model_dump(include=WEIGHTS)
    return Attribute(attribute.name, wording.target, wording.direction, **weights)


def train(
    job: MapperJob, group: str, attributes: list[MapperAttribute], report: Callable[[float], object]
) -> list[Trained]:
    """Train attributes of one shape together, from the last checkpoint on.

    `group` is their `group_name`; `report` hears of the share that is done, in percent. Writes RUN/state/GROUP.pt at
    every checkpoint, curves to RUN/curves, and at the end RUN/mappers/NAME.safetensors and RUN/pictures/NAME.png
    (held-out codes before and after). Raises StoreCorrupt for a state that is of other attributes.
    """
    models = bundle(job.bundle, job.device)
    with computing_in(job.precision), torch.inference_mode(False):
        found = codes(job)
        training = _begin(models, job, attributes)
        state = state_uri(job.output, group)
        seconds = load_state(training, state, attributes, models)
        began = time.monotonic()
        report(_share(training))
        for first, rows in _chunks(training, found, job):
            for name, curves in pd.DataFrame(rows).groupby("attribute"):
                write_curves(job.output, FLOW, curves_part(str(name), first), curves)
            save_state(training, state, attributes, seconds + time.monotonic() - began)
            report(_share(training))
        seconds = (seconds + time.monotonic() - began) / len(attributes)
        return [
            _finish(training, index, attribute, found, job, seconds)
            for index, attribute in enumerate(attributes)
        ]


def _begin(models: Bundle, job: MapperJob, attributes: Sequence[MapperAttribute]) -> MapperTraining:
    config = MapperConfig.for_generator(models.generator, attributes[0].space, attributes[0].levels)
    settings = TrainingSettings(
        job.steps,
        job.batch,
        job.optimizer,
        job.learning_rate,
        job.decay,
        job.seed,
        job.microbatch,
    )
    return MapperTraining(models, config, [_wording(models, attribute) for attribute in attributes], settings)


def _share(training: MapperTraining) -> float:
    return 100 * training.step / training.settings.steps


def _chunks(
    training: MapperTraining, found: Codes, job: MapperJob
) -> Iterator[tuple[int, list[dict[str, object]]]]:
    """Train on; after every `checkpoint_every` steps (first step, rows of the curves)."""
    while training.step < job.steps and len(training.stopped) < len(training.attributes):
        first, terms = training.step, []
        until = min(job.steps, (first // job.checkpoint_every + 1) * job.checkpoint_every)
        while training.step < until:
            w = found.of_step(training.step)
            terms.append(_fitting(training, functools.partial(training.take_step, w)))
        rows: list[dict[str, object]] = [
            {"attribute": attribute.name, "step": first + place + 1, "split": "train"}
            | {name: value for name, value in zip(TERMS, values, strict=True)}
            for place, step in enumerate(
                torch.stack([torch.stack([t[n] for n in TERMS]) for t in terms]).cpu()
            )
            for attribute, values in zip(training.attributes, step.T.tolist(), strict=True)
        ]
        held_out = _fitting(training, lambda: training.validate(found.held_out))
        rows += [
            {"attribute": attribute.name, "step": training.step, "split": "held out"}
            | {name: float(held_out[name][index]) for name in TERMS}
            for index, attribute in enumerate(training.attributes)
        ]
        yield first, rows


def _fitting(training: MapperTraining, work: Callable[[], T]) -> T:
    """Do `work`; when memory runs out, try again with half as many pictures, and stay there."""
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or training.microbatch == 1:
                raise
        training.microbatch //= 2
        give_back()


def _finish(
    training: MapperTraining,
    index: int,
    attribute: MapperAttribute,
    found: Codes,
    job: MapperJob,
    seconds: float,
) -> Trained:
    """Write one attribute's best mapper and its pictures."""
    mapper, name = training.best_mapper(index).to(found.models.device), attribute.name
    card = MapperCard(
        attribute=name,
        target=attribute.target,
        neutral=attribute.neutral,
        generator=found.models.fingerprint["generator"],
        clip=found.models.fingerprint["clip"],
        settings=attribute.model_dump(include=WEIGHTS)
        | {"optimizer": job.optimizer, "learning_rate": job.learning_rate, "batch": job.batch},
        steps=training.step,
        seconds=seconds,
    )
    uri = uris.join(job.output, "mappers", f"{name}.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mapper.safetensors"
        save_mapper(path, mapper, card)
        uris.write_bytes(uri, path.read_bytes())
    _write_pictures(
        training, mapper, found.held_out[:SHOWN], uris.join(job.output, "pictures", f"{name}.png")
    )
    best = training.best[name]
    return Trained(
        attribute=name,
        mapper=uri,
        steps=training.step,
        best_loss=best if best < float("inf") else None,
        seconds=seconds,
        microbatch=training.microbatch,
        stopped=training.stopped.get(name),
    )


@computing_in("float32")
@torch.no_grad()
def _write_pictures(training: MapperTraining, mapper: LatentMapper, w: Tensor, uri: str) -> None:
    code, generator = training.code_of(w), training.models.generator
    before = generator.synthesize(generator.styles(w))
    after = generator.synthesize(training.styles_of(code + mapper.steps(code)[0], w))
    encode_image(strip([before, after]).numpy(), uri)
