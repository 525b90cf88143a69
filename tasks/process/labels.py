"""What the pictures of a run say of themselves, and what its rows tell about files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from storage.markings import EDITED, Label, Markings
from storage.plan import PlannedImage
from storage.uris import join
from styleclip.edits import Edit
from tasks.process.plans import package_version

SYSTEM = "styleclip-flows"
_STRENGTHS = ("alpha", "beta", "channels", "steps")


def prompt_text(edit: Edit) -> str:
    """An edit in one line: its words, its method, its strengths, and what else is not as usual."""
    words = " → ".join(f'"{each}"' for each in (edit.neutral, edit.target) if each)
    told = [f"method {edit.method}"]
    for field in fields(edit):
        value = getattr(edit, field.name)
        usual = field.name not in _STRENGTHS and value == field.default
        if field.name not in ("name", "method", "target", "neutral") and value is not None and not usual:
            told.append(f"{field.name} {_plain(value)}")
    return f"{words} ({', '.join(told)})"


def _plain(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value


@dataclass(frozen=True)
class Labels:
    """XMP for the pictures of one shard; images are known by their position in it."""

    bundle: str
    images: Sequence[PlannedImage]
    markings: Mapping[int, Markings]

    def edited(self, position: int, edit: Edit) -> bytes:
        """For a picture that `edit` has made, or made on its way."""
        return self._xmp(position, EDITED, prompt_text(edit))

    def reconstruction(self, position: int) -> bytes:
        """For what the generator makes of an image that nobody has edited."""
        return self._xmp(position, EDITED, None)

    def source(self, position: int) -> bytes:
        """For the input as the models see it: nothing but what it says itself."""
        return self._xmp(position, None, None)

    def _xmp(self, position: int, source_type: str | None, prompt: str | None) -> bytes:
        return Label(
            system=f"{SYSTEM}, bundle {self.bundle}",
            version=package_version(),
            source_type=source_type,
            prompt=prompt,
            source=self.images[position].hash,
            inputs=self.markings.get(position, Markings()),
        ).to_xmp()


def mark_rows(
    rows: Sequence[dict[str, Any]],
    output: str,
    images: Sequence[PlannedImage],
    markings: Mapping[int, Markings],
    digests: Mapping[str, str],
) -> None:
    """Fill in what the rows of a shard tell about files: sha256 of every picture as written, markings of the input."""
    found = {images[position].id: marking for position, marking in markings.items()}
    for row in rows:
        id_ = row["image_id"]
        files = {"output": row.get("output")}
        files |= {folder: f"images/{folder}/{id_}.png" for folder in ("reconstruction", "source")}
        for column, file in files.items():
            if file is not None and (digest := digests.get(join(output, file))) is not None:
                row[f"{column}_sha256"] = digest
        if (marking := found.get(id_)) is not None:
            row["input_digital_source_type"] = marking.digital_source_type
            row["input_has_c2pa"] = marking.has_c2pa
