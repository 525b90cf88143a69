"""A bundle's TOML from files at hand: what the generator is, and the text that names everything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from styleclip.bundles.spec import MODELS_PREFIX, read_bundle, user_folder
from styleclip.bundles.written import TEMPLATE_SETS
from styleclip.checkpoints import load_generator
from styleclip.checkpoints.torch_files import is_torch_file
from styleclip.errors import BundleError
from styleclip.networks.generator import GeneratorConfig

PUBLISHED_CLIP = {
    "model": "ViT-B-32-quickgelu",
    "checkpoint": f"{MODELS_PREFIX}clip/ViT-B-32.pt",
    "page": "https://github.com/openai/CLIP",
    "licence": "MIT, see page",
}
"""The CLIP of the published code, where no other is given: `ffhq` and `church` keep it at the same place."""


@dataclass(frozen=True)
class GeneratorFile:
    """What a generator file turned out to be."""

    path: Path
    format: str
    config: GeneratorConfig

    @property
    def words(self) -> str:
        """One line for people."""
        config = self.config
        classes = f", {config.c_dim} classes" if config.c_dim else ""
        return f"{self.format}, {config.resolution}×{config.resolution}, w of {config.w_dim}{classes}"


def look_at_generator(path: Path, number: int | None) -> GeneratorFile:
    """Read a generator file. Raises CheckpointError for none, BundleError when class `number` does not suit it."""
    config = load_generator(path).config
    if config.c_dim and (number is None or not 0 <= number < config.c_dim):
        raise BundleError(
            f"{path} is a class-conditional generator of {config.c_dim} classes: choose one with --class, "
            f"0 to {config.c_dim - 1}"
        )
    if number is not None and not config.c_dim:
        raise BundleError(f"{path} knows no classes: leave --class out")
    with path.open("rb") as file:
        native = file.read(9).endswith(b"{")  # after the eight bytes of its header's length
    name = "rosinality's .pt" if is_torch_file(path) else "our safetensors" if native else "NVlabs' pickle"
    return GeneratorFile(path, name, config)


@dataclass(frozen=True)
class NewBundle:
    """What goes into a bundle: role → file, and how it is to be used.

    clip_model, clip_pretrained: open_clip's names; with neither them nor a file "clip" it is PUBLISHED_CLIP.
    """

    description: str
    neutral: str
    templates: Sequence[str]
    files: Mapping[str, Path] = field(default_factory=dict)
    clip_model: str | None = None
    clip_pretrained: str | None = None
    generator_class: int | None = None


def place_of(name: str, output: str | None) -> Path:
    """Where the bundle `name` is written: in the user's folder, in the folder `output`, or as the file `output`.

    Raises BundleError for what is no name, and when a file is there already.
    """
    if not name or name.endswith(".toml") or os.sep in name or name.startswith("."):
        raise BundleError(
            f"'{name}' is no name of a bundle: give a word, and a path with --output if you want one"
        )
    folder = user_folder() if output is None else Path(os.path.expanduser(output))
    path = folder if folder.suffix == ".toml" else folder / f"{name}.toml"
    if path.exists():
        raise BundleError(f"{path} is there already: change it by hand, move it away, or choose another name")
    return path


def write_new_bundle(path: Path, new: NewBundle) -> None:
    """Write the TOML. Raises BundleError, and leaves nothing, for what makes no bundle or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_text(new, path.parent))
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error
    try:
        read_bundle(path)
    except BundleError:
        path.unlink()
        raise


def _text(new: NewBundle, folder: Path) -> str:
    sections: dict[str, dict[str, str | int]] = {
        role: {"path": _written(path, folder)}
        for role, path in new.files.items()
        if not role.startswith("clip")
    }
    if new.generator_class is not None:
        sections["generator"]["class"] = new.generator_class
    clip = {
        "model": new.clip_model,
        "pretrained": new.clip_pretrained,
        "checkpoint": _written(new.files["clip"], folder) if "clip" in new.files else None,
        "config": _written(new.files["clip_config"], folder) if "clip_config" in new.files else None,
    }
    given = {key: value for key, value in clip.items() if value is not None}
    sections["clip"] = dict(given or PUBLISHED_CLIP)
    named = len(new.templates) == 1 and new.templates[0] in TEMPLATE_SETS
    lines = [
        f"description = {_quoted(new.description)}",
        f"neutral = {_quoted(new.neutral)}",
        f"templates = {_quoted(new.templates[0]) if named else _quoted(list(new.templates))}",
    ]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {_quoted(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _quoted(value: str | int | list[str]) -> str:
    # what JSON writes TOML reads, but for a character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(path: Path, folder: Path) -> str:
    """Relative where the file lies below the bundle, so that the folder may move; else absolute."""
    whole, base = path.expanduser().absolute(), folder.absolute()
    return str(whole.relative_to(base)) if whole.is_relative_to(base) else str(whole)
