"""The method of latent mappers (paper §5): one pass of a small network says how far each image moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from styleclip.bundles.load import Bundle, file_sha256
from styleclip.checkpoints.mappers import MapperCard, load_mapper
from styleclip.directions.readings import aim_of
from styleclip.edits import MapperEdit
from styleclip.errors import BundleError, EditError
from styleclip.mappers import LatentMapper
from styleclip.methods.face import Edited, InvertedBatch, Setting
from styleclip.methods.strength import Search, readings_fingerprint, seek_strength
from styleclip.methods.words import Wording, embed_words

SUFFIXES = (".safetensors", ".pt", ".pth")
FIRST = 0.6
"""α that a search begins with; the largest that it tries is four times as large. The training aims at 1."""


@dataclass(frozen=True)
class MappedEdit:
    """G(w + α·0.1·M(w)); `training_seconds` is what the mapper's card says that its training took; `search` says what
    α is looked for, and is None where it is given."""

    edit: MapperEdit
    wording: Wording
    mapper: LatentMapper
    training_seconds: float | None
    search: Search | None
    fingerprint: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """α and which mapper."""
        return {"alpha": None if self.search else self.edit.alpha, "mapper": self.edit.mapper}

    def apply(self, models: Bundle, batch: InvertedBatch) -> Edited:
        """One pass of the mapper and one of the generator, or a search in a few."""
        styles_at = self._styles(models, batch)
        if self.search is not None:
            return seek_strength(models, batch, self.search, styles_at)
        assert not isinstance(self.edit.alpha, str)
        styles = styles_at(self.edit.alpha)
        return Edited(models.generator.synthesize(styles), styles)

    def _styles(self, models: Bundle, batch: InvertedBatch) -> Callable[[Tensor | float], Tensor]:
        """α, a number or [n, 1] → the styles of every image; the mapper itself is asked once."""
        if self.mapper.config.space != "s":
            steps = self.mapper.steps(batch.w)[0]
            return lambda alpha: models.generator.styles(
                batch.w + (alpha[..., None] if isinstance(alpha, Tensor) else alpha) * steps
            )
        columns = models.generator.layout.conv.to(batch.s.device)
        steps = self.mapper.steps(batch.s[:, columns])[0]
        return lambda alpha: batch.s.index_copy(1, columns, batch.s[:, columns] + alpha * steps)


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
    mapper, wording, search = mapper.to(models.device), embed_words(models, edit), None
    if edit.alpha == "auto":
        aim = aim_of(setting.readings, wording.direction)
        search = Search(aim.value, wording.direction, FIRST)
        fingerprint["readings"] = readings_fingerprint(setting.readings)
    return MappedEdit(edit, wording, mapper, card.seconds or None, search, fingerprint)
