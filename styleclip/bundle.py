"""Bundles: named sets of models that belong together, described in TOML."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch

from styleclip.checkpoints import load_generator, load_native
from styleclip.clip import ClipModel, load_clip
from styleclip.errors import BundleError, CheckpointError
from styleclip.networks.encoder import Encoder, build_encoder
from styleclip.networks.generator import Generator
from styleclip.networks.identity import IdentityNet, build_identity

BUILT_IN = Path(__file__).parent / "bundles"
USER_FOLDER = Path("~/.config/styleclip/bundles")
PACKAGE_PREFIX = "package:"
IMAGENET = "imagenet"


@dataclass(frozen=True)
class BundleSpec:
    """A bundle as written: paths resolved, nothing loaded. `clip` and `judge_clip` are arguments of `load_clip`."""

    name: str
    path: Path
    description: str
    generator: Path
    clip: Mapping[str, Any]
    judge_clip: Mapping[str, Any] | None
    identity: Path | None
    encoder: Path | None
    directions: Path | None
    templates: tuple[str, ...]
    neutral: str
    sigma_step: float
    truncation_psi: float

    @property
    def files(self) -> dict[str, Path]:
        """Role → weight file, for all files that the bundle names (the directions store is a folder, not listed)."""
        named = {"generator": self.generator, "identity": self.identity, "encoder": self.encoder}
        for role, settings in (("clip", self.clip), ("judge_clip", self.judge_clip)):
            if settings and settings.get("checkpoint"):
                named[role] = settings["checkpoint"]
        return {role: path for role, path in named.items() if path is not None}


@dataclass(frozen=True, eq=False)
class Bundle:
    """Loaded models on one device, frozen, float32.

    `fingerprint` maps role → sha256 of the weight file (model/tag where open_clip keeps the file itself); `image_size`
    is the side of the generator's pictures; `directions` the shipped directions store, if any.
    """

    name: str
    generator: Generator
    clip: ClipModel
    identity: IdentityNet | None
    encoder: Encoder | None
    judge_clip: ClipModel | None
    templates: tuple[str, ...]
    neutral: str
    sigma_step: float
    truncation_psi: float
    directions: Path | None
    image_size: int
    fingerprint: dict[str, str] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where all models are."""
        return self.clip.device


def _folders() -> Iterator[Path]:
    if chosen := os.environ.get("STYLECLIP_BUNDLES"):
        yield Path(chosen).expanduser()
    yield USER_FOLDER.expanduser()
    yield BUILT_IN


def list_bundles() -> list[BundleSpec]:
    """All bundles that can be named, the user's own before the built-in ones; a broken file raises BundleError."""
    found: dict[str, BundleSpec] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            found.setdefault(path.stem, read_bundle(path))
    return list(found.values())


def _find(name: str | Path) -> Path:
    text = str(name)
    if text.endswith(".toml") or os.sep in text:
        path = Path(text).expanduser()
        if not path.is_file():
            raise BundleError(f"bundle file {path} does not exist")
        return path
    names = []
    for folder in _folders():
        path = folder / f"{text}.toml"
        if path.is_file():
            return path
        names += [other.stem for other in folder.glob("*.toml")] if folder.is_dir() else []
    close = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(set(names)))}"
    raise BundleError(f"no bundle is called '{text}'; {hint} (or give the path of a TOML file)")


def _resolve(value: str, folder: Path) -> Path:
    """Paths are relative to the TOML file; "package:PACKAGE/…" lies inside an installed package, unimported."""
    if not value.startswith(PACKAGE_PREFIX):
        path = Path(value).expanduser()
        return path if path.is_absolute() else folder / path
    package, _, inside = value.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BundleError(f"'{value}' names the package '{package}', which is not installed")
    return Path(spec.submodule_search_locations[0]) / inside


def read_bundle(name: str | Path) -> BundleSpec:
    """Parse a bundle by name or path without loading weights.

    Raises BundleError when it is unknown, is not TOML, or lacks or misspells a field.
    """
    path = _find(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"bundle {path} cannot be read: {error}") from error
    known = {
        "description",
        "neutral",
        "templates",
        "sigma_step",
        "truncation_psi",
        "generator",
        "clip",
        "judge_clip",
        "identity",
        "encoder",
        "directions",
    }
    if unknown := sorted(set(values) - known):
        raise BundleError(
            f"bundle {path}: unknown field '{unknown[0]}'; known are {', '.join(sorted(known))}"
        )
    for needed in ("generator", "clip"):
        if not isinstance(values.get(needed), dict):
            raise BundleError(f"bundle {path} lacks the section [{needed}]")

    def optional(section: str) -> Path | None:
        settings = values.get(section)
        if settings is None:
            return None
        if not isinstance(settings, dict) or "path" not in settings:
            raise BundleError(f"bundle {path}: section [{section}] needs a 'path'")
        return _resolve(settings["path"], path.parent)

    def clip(section: str) -> dict[str, Any] | None:
        settings = values.get(section)
        if settings is None:
            return None
        if unknown := sorted(set(settings) - {"model", "pretrained", "checkpoint", "config"}):
            raise BundleError(f"bundle {path}: section [{section}] has the unknown field '{unknown[0]}'")
        resolved = dict(settings)
        for key in ("checkpoint", "config"):
            if isinstance(resolved.get(key), str):
                resolved[key] = _resolve(resolved[key], path.parent)
        return resolved

    templates = values.get("templates", ["{}"])
    if templates == IMAGENET:
        templates = [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    if not isinstance(templates, list) or not templates or any("{}" not in str(text) for text in templates):
        raise BundleError(
            f'bundle {path}: templates must be a list of texts with {{}} inside, or "{IMAGENET}"'
        )
    generator, guide = optional("generator"), clip("clip")
    assert generator is not None and guide is not None
    return BundleSpec(
        name=path.stem,
        path=path,
        description=str(values.get("description", "")),
        generator=generator,
        clip=guide,
        judge_clip=clip("judge_clip"),
        identity=optional("identity"),
        encoder=optional("encoder"),
        directions=optional("directions"),
        templates=tuple(templates),
        neutral=str(values.get("neutral", "a face")),
        sigma_step=float(values.get("sigma_step", 5.0)),
        truncation_psi=float(values.get("truncation_psi", 0.7)),
    )


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file; read again only when its size or time has changed."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def pick_device(device: str) -> torch.device:
    """ "auto" is CUDA when there is one. Raises BundleError for a device that this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise BundleError(f"'{device}' is not a device: use auto, cpu, cuda or cuda:N") from error
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
                f"bundle '{spec.name}' needs {file} ({role}), which does not exist: put it there or change {spec.path}"
            )
    fingerprint = {role: file_sha256(file) for role, file in spec.files.items()}
    for role, settings in (("clip", spec.clip), ("judge_clip", spec.judge_clip)):
        if settings and role not in fingerprint:
            fingerprint[role] = f"{settings.get('model')}/{settings.get('pretrained')}"
    generator = load_generator(spec.generator).to(place)
    encoder = None if spec.encoder is None else _load_encoder(spec.encoder, generator).to(place)
    return Bundle(
        name=spec.name,
        generator=generator,
        clip=load_clip(**spec.clip, device=place),
        identity=None if spec.identity is None else _load_identity(spec.identity).to(place),
        encoder=encoder,
        judge_clip=None if spec.judge_clip is None else load_clip(**spec.judge_clip, device=place),
        templates=spec.templates,
        neutral=spec.neutral,
        sigma_step=spec.sigma_step,
        truncation_psi=spec.truncation_psi,
        directions=spec.directions,
        image_size=generator.resolution,
        fingerprint=fingerprint,
    )


def _load_network(path: Path, kind: str, build: Any) -> Any:
    found, config, state = load_native(path)
    if found != kind:
        raise CheckpointError(
            f"{path}: holds a network of kind '{found}', the bundle wants one of kind '{kind}'"
        )
    try:
        network = build(config)
        network.load_state_dict(state)
    except (RuntimeError, TypeError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path}: the weights do not fit their configuration ({first_line})") from error
    return network.eval().requires_grad_(False)


def _load_encoder(path: Path, generator: Generator) -> Encoder:
    encoder: Encoder = _load_network(path, "encoder", build_encoder)
    wanted, given = (generator.num_ws, generator.w_dim), (encoder.config.num_ws, encoder.config.w_dim)
    if wanted != given:
        raise BundleError(
            f"{path}: the encoder makes codes {given}, the generator reads {wanted}: they do not belong together"
        )
    return encoder


def _load_identity(path: Path) -> IdentityNet:
    network: IdentityNet = _load_network(path, "identity", build_identity)
    return network
