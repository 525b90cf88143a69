"""The method of latent mappers (paper §5): one pass of a small network says how far each image moves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from storage import uris
from storage.numpy_files import read_file
from styleclip.bundles.load import Bundle, file_sha256
from styleclip.checkpoints.mappers import MapperCard, load_mapper
from styleclip.errors import BundleError, EditError, StyleclipError
from styleclip.mappers import LatentMapper
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.words import Wording, embed_words


@dataclass(frozen=True)
class MappedEdit:
    """G(w + α·0.1·M(w)); `training_seconds` is what the mapper's card says that its training took."""

    words: Mapping[str, Any]
    wording: Wording
    mapper: LatentMapper
    training_seconds: float | None
    fingerprint: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """α and which mapper."""
        return {"alpha": self.words["alpha"], "mapper": self.words["mapper"]}

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """One pass of the mapper, one of the generator."""
        styles = self._styles(models, batch)
        return Edited(images=models.generator.synthesize(styles), styles=styles, measures={})

    def _styles(self, models: Bundle, batch: InvertedBatch) -> Tensor:
        alpha = float(self.words["alpha"])
        if self.mapper.config.space != "s":
            return models.generator.styles(batch.w + alpha * self.mapper.steps(batch.w)[0])
        columns = models.generator.layout.conv.to(batch.s.device)
        moved = batch.s[:, columns] + alpha * self.mapper.steps(batch.s[:, columns])[0]
        return batch.s.index_copy(1, columns, moved)


@contextmanager
def mapper_file(models: Bundle, name: str) -> Iterator[Path]:
    """The local file of a mapper while the block runs: a path, a URI (its copy), or the name of a shipped one.

    Raises EditError or StorageError when it is not there. Errors of the block that name the copy name the URI instead.
    """
    if not uris.is_remote(name):
        yield _find(models, name)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name.rsplit("/", 1)[-1])
        path.write_bytes(read_file(name))
        try:
            yield path
        except StyleclipError as error:
            raise type(error)(str(error).replace(str(path), name)) from error


def _find(models: Bundle, name: str) -> Path:
    if name.endswith((".safetensors", ".pt", ".pth")):
        path = uris.local_path(name)
        if not path.is_file():
            raise EditError(f"mapper file {path} does not exist")
        return path
    shipped = models.mappers
    if shipped is None or not (shipped / f"{name}.safetensors").is_file():
        known = sorted(each.stem for each in shipped.glob("*.safetensors")) if shipped else []
        raise EditError(
            f"bundle '{models.name}' ships no mapper '{name}' (it ships: {', '.join(known) or 'none'}); give the file "
            "of one that `styleclip train-mappers` made"
        )
    return shipped / f"{name}.safetensors"


def compile_mapping(setting: Setting, edit: Mapping[str, Any]) -> MappedEdit:
    """A mapper file → an edit. Raises EditError when it is not there or belongs to another generator."""
    models = setting.models
    with mapper_file(models, edit["mapper"]) as path:
        mapper, card = load_mapper(path)
        check_mapper(models, path, mapper, card)
        digest = file_sha256(path)
    target = edit["target"] or card.target
    if not target:
        raise EditError(f"{edit['mapper']} does not say what it was trained for: give the edit a 'target'")
    words = dict(edit) | {"target": target}
    return MappedEdit(
        words=words,
        wording=embed_words(models, words),
        mapper=mapper.to(models.device),
        training_seconds=card.seconds or None,
        fingerprint={"mapper": digest},
    )


def check_mapper(models: Bundle, path: Path, mapper: LatentMapper, card: MapperCard) -> None:
    """Raises EditError unless the mapper fits the generator, and was trained for it where its card says for which."""
    config, generator = mapper.config, models.generator
    widths = tuple(layer.channels for layer in generator.layout.conv_layers)
    if config.space == "s":
        fits = config.widths == widths
    else:
        rows = {"coarse": 0, "medium": 4, "fine": 8}
        fits = config.w_dim == generator.w_dim and all(
            generator.num_ws > rows[level] for level in config.levels if config.space == "levels"
        )
    if not fits:
        raise EditError(f"{path}: the mapper's shape does not fit the generator of bundle '{models.name}'")
    ours = models.fingerprint["generator"]
    if card.generator and card.generator != ours:
        raise EditError(
            f"{path} was trained for another generator (sha256 {card.generator[:12]}…, bundle '{models.name}' has "
            f"{ours[:12]}…): train it again with `styleclip train-mappers`"
        )
    if "published" not in card.settings and not card.generator:
        raise BundleError(f"{path}: its card does not say which generator it was trained for")
