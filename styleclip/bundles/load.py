"""Bundles loaded: named sets of models that belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from styleclip.allocator import keep_freed_memory
from styleclip.bundles.lock import file_sha256, look_at_files, record_files
from styleclip.bundles.spec import BundleSpec, list_bundles, read_bundle
from styleclip.checkpoints import load_encoder, load_generator, load_identity
from styleclip.clip import ClipModel, load_clip
from styleclip.errors import BundleError
from styleclip.networks.conditional import of_class
from styleclip.networks.e4e import E4e
from styleclip.networks.encoder import Encoder
from styleclip.networks.generator import Generator
from styleclip.networks.identity import IdentityNet
from styleclip.networks.irse50 import IRSE50

__all__ = ["Bundle", "BundleSpec", "file_sha256", "list_bundles", "load_bundle", "pick_device", "read_bundle"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """Loaded models on one device, frozen, float32.

    `fingerprint` maps role → sha256 of the weight file (model/tag where open_clip keeps the file itself; with a word
    on what takes the place of something that the generator's file lacks), and "generator_class" → the class that a
    conditional generator is held at; `notes` are lines for the user about such files; `image_size` is the side of the
    generator's pictures; `directions` the shipped directions store, `mappers` the folder of shipped mappers, if any;
    `detector` the file of a face detector, if it is there (for `styleclip.faces.detect`).
    """

    name: str
    generator: Generator
    clip: ClipModel
    identity: IdentityNet | IRSE50 | None
    encoder: Encoder | E4e | None
    judge_clip: ClipModel | None
    templates: tuple[str, ...]
    neutral: str
    sigma_step: float
    truncation_psi: float
    directions: Path | None
    mappers: Path | None
    detector: Path | None
    image_size: int
    fingerprint: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done where a file lacks something, one line each."""
        return tuple(self.generator.notes.values())

    @property
    def device(self) -> torch.device:
        """Where all models are."""
        return self.clip.device

    def need_encoder(self) -> Encoder | E4e:
        """The encoder. Raises BundleError for a bundle that cannot turn images into latent codes."""
        if self.encoder is None:
            raise BundleError(
                f"bundle '{self.name}' names no encoder, so images cannot be inverted: add one to its file"
            )
        return self.encoder


def pick_device(device: str) -> torch.device:
    """ "auto" is CUDA when there is one. Raises BundleError for a device that this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise BundleError(f"'{device}' is not a device: use auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise BundleError(
            f"device '{device}' is not there: this machine has {torch.cuda.device_count()} GPUs"
        )
    return chosen


def load_bundle(name_or_path: str | Path, device: str = "auto") -> Bundle:
    """Load all models of a bundle onto a device ("auto", "cpu", "cuda", "cuda:N").

    Raises BundleError when the bundle is unknown or a file is missing, CheckpointError when a file does not hold what
    the bundle says.
    """
    spec, place = read_bundle(name_or_path), pick_device(device)
    for role, file in spec.files.items():
        if not file.is_file():
            raise BundleError(
                f"bundle '{spec.name}' needs {file} ({role}), which does not exist: put it there or change {spec.path} "
                f"(`styleclip bundle check {name_or_path}` says where it can be had)"
            )
    if place.type == "cpu":
        keep_freed_memory()
    # Models outlive this call: loaded in inference mode they could never take part in a backward pass.
    files = look_at_files(spec)
    with torch.inference_mode(False):
        bundle = _load(spec, place, {role: files[role].sha256 for role in spec.files})
    record_files(spec, files)
    return bundle


def _load(spec: BundleSpec, place: torch.device, fingerprint: dict[str, str]) -> Bundle:
    for role, settings in (("clip", spec.clip), ("judge_clip", spec.judge_clip)):
        if settings and role not in fingerprint:
            fingerprint[role] = f"{settings.get('model')}/{settings.get('pretrained')}"
    # Channels last: the layout that convolutions are fastest in, on CPUs above all; results differ by rounding only.
    generator = _load_generator(spec)
    # codes and directions made with something else in that place belong to another generator
    fingerprint["generator"] = "; ".join([fingerprint["generator"], *generator.notes])
    if spec.generator_class is not None:
        fingerprint["generator_class"] = str(spec.generator_class)
    generator = generator.to(place).to(memory_format=torch.channels_last)
    encoder = None if spec.encoder is None else _load_encoder(spec.encoder, generator).to(place)
    return Bundle(
        name=spec.name,
        generator=generator,
        clip=load_clip(**spec.clip, device=place).to(memory_format=torch.channels_last),
        identity=None if spec.identity is None else load_identity(spec.identity).to(place),
        encoder=encoder,
        judge_clip=None if spec.judge_clip is None else load_clip(**spec.judge_clip, device=place),
        templates=spec.templates,
        neutral=spec.neutral,
        sigma_step=spec.sigma_step,
        truncation_psi=spec.truncation_psi,
        directions=spec.directions,
        mappers=spec.mappers,
        detector=spec.detector if spec.detector and spec.detector.is_file() else None,
        image_size=generator.resolution,
        fingerprint=fingerprint,
    )


def _load_generator(spec: BundleSpec) -> Generator:
    generator, number = load_generator(spec.generator), spec.generator_class
    classes = generator.config.c_dim
    if number is None and not classes:
        return generator
    if not classes:
        raise BundleError(
            f"bundle '{spec.name}' chooses class {number}, but {spec.generator} knows no classes: take 'class' out of "
            f"its section [generator] ({spec.path})"
        )
    if number is None or number >= classes:
        raise BundleError(
            f"bundle '{spec.name}': {spec.generator} is a class-conditional generator of {classes} classes: choose "
            f"one with 'class', a number from 0 to {classes - 1}, in section [generator] of {spec.path}"
        )
    return of_class(generator, number)


def _load_encoder(path: Path, generator: Generator) -> Encoder | E4e:
    encoder = load_encoder(path)
    wanted, given = (generator.num_ws, generator.w_dim), (encoder.num_ws, encoder.w_dim)
    if wanted != given:
        raise BundleError(
            f"{path}: the encoder makes codes {given}, the generator reads {wanted}: they do not belong together"
        )
    return encoder
