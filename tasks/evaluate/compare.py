"""All methods on the same images and the same words, each at the strength that changes the target equally far."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from prefect import task
from torch import Tensor

from storage.images import encode_image
from storage.uris import join
from styleclip.bundles.load import Bundle
from styleclip.match_strength import match_strength
from styleclip.methods import CompiledEdit, Edit, InvertedBatch
from styleclip.methods.measures import see
from styleclip.metrics import clip_similarity, directional_similarity, identity_similarity, pixel_distance
from styleclip.precision import computing_in
from styleclip.probes import Probe
from tasks.edit.compile import compile_edits
from tasks.evaluate.pictures import Source, Sources, sources
from tasks.jobs import CompareJob
from tasks.process.limits import device_limit
from tasks.process.models import bundle
from tasks.process.sheets import strip
from tasks.process.stopwatch import Stopwatch

LIMIT = 3.0
"""A method's step is stretched at most this far to reach what the first method reaches."""
STRIP = 8
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class MethodRow:
    """One method on one group's words; means over the pictures, None where nothing here can measure them.

    strength: factor of its step; matched: whether that reaches what the first method reaches.
    """

    edit: str
    method: str
    strength: float
    matched: bool
    reached: float
    pictures: int
    success: float | None = None
    dependency: float | None = None
    worst_change: float | None = None
    worst: str | None = None
    identity: float | None = None
    clip_gain: float | None = None
    directional_similarity: float | None = None
    judge_directional_similarity: float | None = None
    distance_source_reconstruction: float | None = None
    distance_reconstruction_edit: float | None = None
    ms_per_edit: float = 0.0
    failed: int = 0


@dataclass(frozen=True)
class _Stepped:
    """The steps Δs [n, C_total] that an edit takes on the images `rows` [n] of a source, and its ms per image."""

    rows: Tensor
    steps: Tensor
    ms: float


@task(name="compare methods", task_run_name="methods: {group}")
@device_limit()
@computing_in("float32")
def compare_methods(job: CompareJob, group: str, edits: list[Edit]) -> list[MethodRow]:
    """The same words by several methods; one row per method, the first of which sets the strength of the others.

    In the style space every method is a step, Δs of an image, that can be taken further or less far: G(s + kΔs). The
    first method is taken as asked for (k = 1); k of the others is found on images that are not scored, so that they
    reach as much of the target. Also writes a strip of pictures to OUTPUT/methods/GROUP.png: reconstruction, methods.
    """
    models = bundle(job.bundle, job.device)
    compiled = compile_edits(job.bundle, job.device, job.directions, edits)
    with _ONE_AT_A_TIME, torch.inference_mode():
        found = sources(job, compiled[0])
        return _compare(models, job, group, compiled, found)


def _compare(
    models: Bundle, job: CompareJob, group: str, compiled: Sequence[CompiledEdit], found: Sources
) -> list[MethodRow]:
    rows: list[MethodRow] = []
    pictures: list[Tensor] = []
    wanted: float | None = None
    for edit in compiled:
        choose = _step(models, edit, found.choose, job.batch)

        def reached(strength: float, choose: _Stepped = choose) -> float:
            parts = [
                found.chooser.reached(found.choose.readings[part], found.chooser.read(images))
                for part, images in _draw(models, found.choose, choose, strength, job.batch)
            ]
            return float(torch.cat(parts).mean())

        if wanted is None:
            wanted, strength, matched = reached(1.0), 1.0, True
        else:
            match = match_strength(reached, wanted, LIMIT)
            strength, matched = match.strength, match.matched
        stepped = _step(models, edit, found.score, job.batch)
        rows.append(
            MethodRow(
                edit=group,
                method=edit.edit.method,
                strength=strength,
                matched=matched,
                **_score(models, edit, found.score, found.scorer, stepped, strength, job.batch),
            )
        )
        pictures.append(_first(models, found.score, stepped, strength))
    count = min(map(len, pictures))
    first = found.score.rows[:count]
    pictures.insert(0, models.generator.synthesize(found.score.s[first]))
    sheet = strip([row[:count] for row in pictures]).numpy()
    encode_image(sheet, join(job.output, "methods", f"{group.replace(' ', '-')}.png"))
    return rows


def _step(models: Bundle, edit: CompiledEdit, source: Source, batch: int) -> _Stepped:
    """Edit all images that can change; those that an edit fails on are left out."""
    watch = Stopwatch(models.device)
    rows, steps = [], []
    for part in source.rows.split(batch):
        s = source.s[part]
        seen = see(models, models.generator.synthesize(s))
        with watch.time("edit"):
            edited = edit.apply(models, InvertedBatch(source.w[part], s, seen))
        good = [place for place in range(len(part)) if place not in edited.lost]
        rows.append(part[good])
        steps.append((edited.styles - s)[good])
    return _Stepped(torch.cat(rows), torch.cat(steps), watch.ms["edit"] / len(source.rows))


def _draw(
    models: Bundle, source: Source, stepped: _Stepped, strength: float, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows, images [n, 3, H, W]) of G(s + strength·Δs), batch by batch."""
    for rows, steps in zip(stepped.rows.split(batch), stepped.steps.split(batch), strict=True):
        yield rows, models.generator.synthesize(source.s[rows] + strength * steps)


def _first(models: Bundle, source: Source, stepped: _Stepped, strength: float) -> Tensor:
    """The first edited pictures [n, 3, H, W]."""
    rows, steps = stepped.rows[:STRIP], stepped.steps[:STRIP]
    return models.generator.synthesize(source.s[rows] + strength * steps)


def _score(
    models: Bundle,
    edit: CompiledEdit,
    source: Source,
    scorer: Probe,
    stepped: _Stepped,
    strength: float,
    batch: int,
) -> dict[str, Any]:
    """Means over the images, by networks that chose nothing where there are any."""
    judge = models.judge_clip
    after, measures = [], []
    for rows, images in _draw(models, source, stepped, strength, batch):
        before = models.generator.synthesize(source.s[rows])
        guided_before, guided_after = models.clip.encode_image(before), models.clip.encode_image(images)
        values = {
            "clip_gain": clip_similarity(guided_after, edit.wording.target[None])
            - clip_similarity(guided_before, edit.wording.target[None]),
            "directional_similarity": directional_similarity(
                guided_before, guided_after, edit.wording.direction
            ),
            "distance_source_reconstruction": pixel_distance(source.images(rows), before),
            "distance_reconstruction_edit": pixel_distance(before, images),
        }
        if judge is not None and edit.wording.judge is not None:
            values["judge_directional_similarity"] = directional_similarity(
                judge.encode_image(before), judge.encode_image(images), edit.wording.judge[1]
            )
        if models.identity is not None:
            values["identity"] = identity_similarity(models.identity(before), models.identity(images))
        after.append(scorer.read(images))
        measures.append(values)
    before_read, after_read = source.readings[stepped.rows], torch.cat(after)
    means = {name: float(torch.cat([values[name] for values in measures]).mean()) for name in measures[0]}
    return {
        "reached": float(scorer.reached(before_read, after_read).mean()),
        "pictures": len(stepped.rows),
        "failed": len(source.rows) - len(stepped.rows),
        **scorer.verdict(before_read, after_read),
        **means,
        "ms_per_edit": stepped.ms,
    }
