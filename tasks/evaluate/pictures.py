"""The images that methods are compared on, inverted, and who reads them: avatars and their judges, or any folder."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avatars.judging.evaluation import CHOOSE_SEED
from avatars.judging.judges import Judge, Role, load_judge
from avatars.judging.probe import AttributeProbe
from avatars.world.captions import statement_of
from avatars.world.samples import sample_pictures
from storage.datasets import list_images
from storage.errors import StorageError
from styleclip.bundles.load import Bundle
from styleclip.errors import EditError
from styleclip.methods.face import CompiledEdit
from styleclip.pixels import from_bytes, to_bytes
from styleclip.probes import ClipProbe, Probe
from tasks.inputs.decode import decode
from tasks.jobs import CompareJob
from tasks.process.models import bundle


@dataclass(frozen=True)
class Inverted:
    """pictures uint8 [n, H, W, 3]; w [n, num_ws, w_dim]; s [n, C_total]; all on the device."""

    pictures: Tensor
    w: Tensor
    s: Tensor


@dataclass(frozen=True)
class Source:
    """Inverted images with a probe's readings [n, K] of their reconstructions; rows [m]: those that can change."""

    inverted: Inverted
    readings: Tensor
    rows: Tensor

    @property
    def w(self) -> Tensor:
        """W+ codes [n, num_ws, w_dim]."""
        return self.inverted.w

    @property
    def s(self) -> Tensor:
        """Style vectors [n, C_total]."""
        return self.inverted.s

    def images(self, rows: Tensor) -> Tensor:
        """The source images float [m, 3, H, W] in [−1, 1]."""
        return from_bytes(self.inverted.pictures[rows], self.w.device)


@dataclass(frozen=True)
class Sources:
    """Strengths are matched on `choose` by `chooser`; `score` is scored by `scorer`."""

    choose: Source
    score: Source
    chooser: Probe
    scorer: Probe


def sources(job: CompareJob, edit: CompiledEdit) -> Sources:
    """The two sets of images for one edit, and who reads them.

    Raises StorageError when a folder has too few images, or none of them can change; EditError for words that the
    judges of the avatars do not know.
    """
    target = str(edit.edit.target)
    models = bundle(job.bundle, job.device)
    if job.folder is None:
        choose, score = (
            _avatars(job.bundle, job.device, count, seed, job.batch)
            for count, seed in ((job.choose_images, CHOOSE_SEED), (job.images, job.seed))
        )
        statement = statement_of(target)
        if statement is None:
            raise EditError(
                f"the judges of the avatars cannot tell whether a picture shows '{target}': compare on a folder of "
                "images (--folder), by CLIP gain"
            )
        chooser: Probe = AttributeProbe(_judge("chooser", models.device), statement)
        scorer: Probe = AttributeProbe(_judge("scorer", models.device), statement)
    else:
        choose, score = _folder(job.bundle, job.device, job.folder, job.choose_images, job.images, job.batch)
        chooser = scorer = ClipProbe(models.clip, edit.wording.target)
    return Sources(
        _source(models, choose, chooser, job.batch, target),
        _source(models, score, scorer, job.batch, target),
        chooser,
        scorer,
    )


@functools.cache
def _judge(role: Role, device: torch.device) -> Judge:
    return load_judge(role, device=device)


def _source(models: Bundle, inverted: Inverted, probe: Probe, batch: int, target: str) -> Source:
    readings = torch.cat([probe.read(models.generator.synthesize(part)) for part in inverted.s.split(batch)])
    rows = torch.nonzero(probe.can_change(readings))[:, 0]
    if not len(rows):
        raise StorageError(f"every image shows '{target}' already: compare on other images")
    return Source(inverted, readings, rows)


@functools.cache
def _avatars(name: str, device: str, count: int, seed: int, batch: int) -> Inverted:
    models = bundle(name, device)
    return _invert(models, to_bytes(sample_pictures(count, seed)[0].to(models.device)), batch)


@functools.cache
def _folder(
    name: str, device: str, folder: str, choose: int, score: int, batch: int
) -> tuple[Inverted, Inverted]:
    models = bundle(name, device)
    wanted, images = choose + score, list_images(folder).images
    found: list[np.ndarray] = []
    for first in range(0, len(images), wanted):
        # one bad file among the first ones is no reason to refuse a folder of thousands
        part = decode([image.path for image in images[first : first + wanted]], models.image_size)
        found.append(part.images)
        if sum(map(len, found)) >= wanted:
            break
    pictures_found = np.concatenate(found)
    usable = len(pictures_found)
    if usable < choose + score:
        raise StorageError(
            f"{folder} has {usable} usable images; comparing needs {choose} to match strengths on and {score} others "
            "to score: give more images, or lower --images or --choose-images"
        )
    pictures = torch.from_numpy(pictures_found).to(models.device)
    return _invert(models, pictures[:choose], batch), _invert(models, pictures[choose:wanted], batch)


def _invert(models: Bundle, pictures: Tensor, batch: int) -> Inverted:
    encoder = models.need_encoder()
    with torch.inference_mode():
        w = torch.cat([encoder(from_bytes(part, models.device)) for part in pictures.split(batch)])
        return Inverted(pictures, w, torch.cat([models.generator.styles(part) for part in w.split(batch)]))
