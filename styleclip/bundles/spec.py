"""Bundles as written: TOML files found, checked and resolved. No network is built and no weight is read."""

from __future__ import annotations

import difflib
import importlib.util
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from styleclip.bundles.written import IMAGENET, BundleFile, ClipSection, FileSection, what_is_wrong
from styleclip.errors import BundleError

BUILT_IN = Path(__file__).parent
USER_FOLDER = Path("~/.config/styleclip/bundles")
PACKAGE_PREFIX = "package:"
MODELS_PREFIX = "models:"
MODELS_FOLDER = Path("~/.cache/styleclip/models")
LEFT_OUT = "a photo of many {}."
"""The one of ImageNet's 80 templates that StyleCLIP's published list comments out."""


@dataclass(frozen=True)
class Origin:
    """Where a file can be had, as the bundle says: the page to get it from, and the licence to expect there."""

    page: str = ""
    licence: str = ""


@dataclass(frozen=True)
class BundleSpec:
    """A bundle as written: paths resolved, nothing loaded. `clip` and `judge_clip` are arguments of `load_clip`.

    `origins`: section → where its file comes from, for sections that say so. `generator_class`: the class that a
    class-conditional generator is held at.
    """

    name: str
    path: Path
    description: str
    generator: Path
    clip: Mapping[str, Any]
    judge_clip: Mapping[str, Any] | None
    identity: Path | None
    encoder: Path | None
    detector: Path | None
    directions: Path | None
    mappers: Path | None
    template_set: tuple[str, ...] | str
    neutral: str
    sigma_step: float
    truncation_psi: float
    generator_class: int | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts that prompts are put into, each with {} inside: the bundle's own, or a set that has a name."""
        if not isinstance(self.template_set, str):
            return self.template_set
        # Imported where it is needed: whoever lists bundles need not wait for torch.
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        imagenet = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
        return imagenet if self.template_set == IMAGENET else tuple(t for t in imagenet if t != LEFT_OUT)

    @property
    def files(self) -> dict[str, Path]:
        """Role → file, for all files that fix what the models compute (not the directions store, a folder)."""
        named = {"generator": self.generator, "identity": self.identity, "encoder": self.encoder}
        for role, settings in (("clip", self.clip), ("judge_clip", self.judge_clip)):
            for key, suffix in (("checkpoint", ""), ("config", "_config")):
                if settings and settings.get(key):
                    named[role + suffix] = settings[key]
        return {role: path for role, path in named.items() if path is not None}

    @property
    def extras(self) -> dict[str, Path]:
        """Role → file, for files that the bundle works without: what needs one is refused where it is missing."""
        return {} if self.detector is None else {"detector": self.detector}


def user_folder() -> Path:
    """Where the user's own bundles are written: $STYLECLIP_BUNDLES, or ~/.config/styleclip/bundles."""
    return Path(os.environ.get("STYLECLIP_BUNDLES") or USER_FOLDER).expanduser()


def _folders() -> Iterator[Path]:
    yield user_folder()
    if os.environ.get("STYLECLIP_BUNDLES"):
        yield USER_FOLDER.expanduser()
    yield BUILT_IN


def list_bundles() -> dict[str, BundleSpec | BundleError]:
    """Name → bundle, the user's own before the built-in ones; for a broken file, what is wrong with it."""
    found: dict[str, BundleSpec | BundleError] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            if path.stem not in found:
                try:
                    found[path.stem] = read_bundle(path)
                except BundleError as error:
                    found[path.stem] = error
    return found


def _find(name: str | Path) -> Path:
    text = str(name)
    if text.endswith(".toml") or os.sep in text:
        path = Path(os.path.expanduser(text))
        if not os.path.isfile(path):
            raise BundleError(f"bundle file {path} does not exist")
        return path
    names = []
    for folder in _folders():
        path = folder / f"{text}.toml"
        if os.path.isfile(path):  # False, and no exception, where a name is too long to be one
            return path
        names += [other.stem for other in folder.glob("*.toml")] if folder.is_dir() else []
    close = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(set(names)))}"
    raise BundleError(f"no bundle is called '{text}'; {hint} (or give the path of a TOML file)")


def models_folder() -> Path:
    """Where downloaded models are kept: $STYLECLIP_MODELS, or ~/.cache/styleclip/models."""
    return Path(os.environ.get("STYLECLIP_MODELS") or MODELS_FOLDER).expanduser()


def _resolve(value: str, folder: Path) -> Path:
    """Paths are relative to the TOML file; "package:PACKAGE/…" lies inside an installed package, unimported, and
    "models:…" in the folder that downloaded models are kept in."""
    if value.startswith(MODELS_PREFIX):
        return models_folder() / value.removeprefix(MODELS_PREFIX)
    if not value.startswith(PACKAGE_PREFIX):
        # Unlike Path.expanduser, this leaves the home of an unknown user alone: the file is then simply not there.
        return folder / os.path.expanduser(value)
    package, _, inside = value.removeprefix(PACKAGE_PREFIX).partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a parent that is not there, or no name at all
        spec = None
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
    try:
        written = BundleFile.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"bundle {path}: {what_is_wrong(error)}") from error

    def file(section: FileSection | None) -> Path | None:
        return None if section is None else _resolve(section.path, path.parent)

    templates = written.templates
    return BundleSpec(
        name=path.stem,
        path=path,
        description=written.description,
        generator=_resolve(written.generator.path, path.parent),
        clip=_clip_settings(written.clip, path.parent),
        judge_clip=None if written.judge_clip is None else _clip_settings(written.judge_clip, path.parent),
        identity=file(written.identity),
        encoder=file(written.encoder),
        detector=file(written.detector),
        directions=file(written.directions),
        mappers=file(written.mappers),
        template_set=templates if isinstance(templates, str) else tuple(templates),
        neutral=written.neutral,
        sigma_step=written.sigma_step,
        truncation_psi=written.truncation_psi,
        generator_class=written.generator.number,
        origins={
            name: Origin(section.page or "", section.licence or "")
            for name, section in written.sections().items()
            if section.page or section.licence
        },
    )


def _clip_settings(section: ClipSection, folder: Path) -> dict[str, Any]:
    """Arguments of `load_clip`."""
    given = section.model_dump(exclude_none=True, exclude={"page", "licence"})
    return {
        key: _resolve(value, folder) if key in ("checkpoint", "config") else value
        for key, value in given.items()
    }
