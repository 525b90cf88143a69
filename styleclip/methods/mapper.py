"""The method of latent mappers (paper §5): one pass of a small network says how far each image moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from styleclip.bundles.load import Bundle, file_sha256
from styleclip.checkpoints.mappers import MapperCard, load_mapper
from styleclip.edits import MapperEdit
from styleclip.errors import BundleError, EditError
from styleclip.mappers import LatentMapper
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.words import Wording, embed_words

SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True)
class MappedEdit:
    """G(w + α·0.1·M(w)); `training_seconds` is what the mapper's card says that its training took."""

    edit: MapperEdit
    wording: Wording
    mapper: LatentMapper
    training_seconds: float | None
    fingerprint: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """α and which mapper."""
        return {"alpha": self.edit.alpha, "mapper": self.edit.mapper}

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """One pass of the mapper, one of the generator."""
        styles = self._styles(models, batch)
        return Edited(models.generator.synthesize(styles), styles)

    def _styles(self, models: Bundle, batch: InvertedBatch) -> Tensor:
        alpha = self.edit.alpha
        if self.mapper.config.space != "s":
            return models.generator.styles(batch.w + alpha * self.mapper.steps(batch.w)[0])
        columns = models.generator.layout.conv.to(batch.s.device)
        moved = batch.s[:, columns] + alpha * self.mapper.steps(batch.s[:, columns])[0]
        return batch.s.index_copy(1, columns, moved)


@contextmanager
def found_mapper(setting: Setting, name: str) -> Iterator[Path]:
    """The local file of a mapper while the block runs: a path or URI, or the name of one that the bundle ships.

    Raises EditError when it is not there.
    """
    if name.endswith(SUFFIXES) or "://" in name:
        with setting.mapper_file(name) as path:
            yield path
        return
    models, folder = setting.models, setting.models.mappers
    if folder is None or not (folder / f"{name}.safetensors").is_file():
        known = sorted(each.stem for each in folder.glob("*.safetensors")) if folder else []
        raise EditError(
            f"bundle '{models.name}' ships no mapper '{name}' (it ships: {', '.join(known) or 'none'}); give the file "
            "of one that `styleclip train-mappers` made"
        )
    yield folder / f"{name}.safetensors"


def check_mapper(models: Bundle, path: Path, mapper: LatentMapper, card: MapperCard) -> None:
    """Raises EditError unless the mapper fits the generator, and was trained for it where its card says for which."""
    if not mapper.config.fits(models.generator):
        raise EditError(f"{path}: the mapper's shape does not fit the generator of bundle '{models.name}'")
    ours = models.fingerprint["generator"]
    if card.generator and card.generator != ours:
        raise EditError(
            f"{path} was trained for another generator (sha256 {card.generator[:12]}…, bundle '{models.name}' has "
            f"{ours[:12]}…): train it again with `styleclip train-mappers`"
        )
    if "published" not in card.settings and not card.generator:
        raise BundleError(f"{path}: its card does not say which generator it was trained for")


def compile_mapper(setting: Setting, edit: MapperEdit) -> MappedEdit:
    """A mapper file → an edit. Raises EditError when it is not there or belongs to another generator."""
    models = setting.models
    with found_mapper(setting, edit.mapper) as path:
        mapper, card = load_mapper(path)
        check_mapper(models, path, mapper, card)
        fingerprint = {"mapper": file_sha256(path)}
    if not (target := edit.target or card.target):
        raise EditError(f"{edit.mapper} does not say what it was trained for: give the edit a 'target'")
    edit = replace(edit, target=target)
    mapper = mapper.to(models.device)
    return MappedEdit(edit, embed_words(models, edit), mapper, card.seconds or None, fingerprint)
