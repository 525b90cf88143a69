"""What an export says of itself: a card for people (README.md) and Croissant (JSON-LD) for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import yaml
from prefect import task

from storage import uris
from storage.metrics import SCHEMA
from storage.plan import Generation, load_plan
from tasks.export.plan import TOLD, Pack, Packs, rows_file
from tasks.jobs import ExportJob

GLOBS = {"imagefolder": "{}/**", "parquet": "data/{}-*.parquet", "webdataset": "{}/*.tar"}
"""Kind of export → the files of a split, as dataset viewers look for them."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_FORMATS = {
    "imagefolder": "image/png",
    "parquet": "application/vnd.apache.parquet",
    "webdataset": "application/x-tar",
}
_TYPES = {pa.float64(): "sc:Float", pa.int64(): "sc:Integer", pa.bool_(): "sc:Boolean"}


@task(name="card", task_run_name="card of {job.output}")
def write_card(job: ExportJob, packs: Packs) -> None:
    """Write README.md and croissant.json, and take away what only the making of the packs needed."""
    plan = load_plan(job.run)
    uris.write_bytes(uris.join(job.output, "README.md"), _readme(job, packs, plan).encode())
    text = json.dumps(croissant(job, packs.packs), indent=1, ensure_ascii=False)
    uris.write_bytes(uris.join(job.output, "croissant.json"), text.encode())
    for pack in packs.packs:
        uris.remove(rows_file(job, pack.split, pack.number))


def _counts(packs: Sequence[Pack]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pack in packs:
        counts[pack.split] = counts.get(pack.split, 0) + pack.rows
    return counts


def _title(job: ExportJob) -> str:
    return job.output.rstrip("/").rsplit("/", 1)[-1]


def _readme(job: ExportJob, packs: Packs, plan: Generation | None) -> str:
    counts = _counts(packs.packs)
    size = next((name for limit, name in _SIZES if packs.accepted < limit), "n>1M")
    head: dict[str, Any] = {
        "license": job.license,
        "pretty_name": _title(job),
        "tags": ["styleclip", "image-editing", "ai-generated"],
        "task_categories": ["image-to-image"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": GLOBS[job.to].format(name)} for name in counts],
            }
        ],
    }
    made = plan.fingerprint if plan else {}
    edits = "\n".join(f"- `{edit['name']}`: {_edit(edit)}" for edit in (plan.edits if plan else ()))
    weights = "\n".join(f"- {role}: `{digest}`" for role, digest in dict(made.get("weights", {})).items())
    splits = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    accepted = (
        f"Kept are rows with `{job.accept}`."
        if job.accept.strip()
        else "Kept are all rows that did not fail."
    )
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---
# {_title(job)}

Pairs of a picture (`source`) and what a model made of it by words (`edited`). Every edited picture is made by a
model, and says so in its XMP.

| split | pairs |
|---|---|
{splits}

All edits of one image are in the same split. {accepted} {packs.accepted:,} of {packs.rows:,} rows.

## How it was made
styleclip-flows {made.get("package_version", "")}, bundle {made.get("bundle", "")}, run `{plan.run_id if plan else ""}`.

Edits:
{edits}

Weights, by sha256:
{weights}

## What the columns are
- `key` names a pair.
- `source_kind`: `input` is the file as it came, `seen` that file as the models saw it, `reconstruction` what the
  generator makes of it without an edit.
- `clip_gain`, `directional_similarity`: measured by the CLIP that also guided the edits; grow with any large change.
- `identity_reconstruction_edit`: 1 where the face stays the same. `distance_reconstruction_edit`: how far pixels moved.

## Limits
An edit is measured against the reconstruction, not against the source: see `identity_source_reconstruction` for what
the inversion alone has changed. Choosing rows by a measure makes that measure look better than the method is. An edit
does not change the rights in its input.
"""


def _edit(edit: Any) -> str:
    words = " → ".join(f'"{edit[name]}"' for name in ("neutral", "target") if edit.get(name))
    strengths = [
        f"{name} {edit[name] if isinstance(edit[name], str) else format(edit[name], 'g')}"
        for name in ("alpha", "channels", "steps")
        if edit.get(name) is not None
    ]
    return f"{words} ({', '.join([str(edit.get('method')), *strengths])})"


def croissant(job: ExportJob, packs: Sequence[Pack]) -> dict[str, Any]:
    """The dataset as Croissant 1.1 (JSON-LD): its files, and the fields of a pair."""
    splits = list(_counts(packs))
    files = [
        {
            "@type": "cr:FileSet",
            "@id": f"files-{name}",
            "name": f"files-{name}",
            "encodingFormat": _FORMATS[job.to],
            "includes": GLOBS[job.to].format(name),
        }
        for name in splits
    ]
    fields = [_field(name, "sc:ImageObject", splits) for name in ("source", "edited")]
    fields += [_field(name, _TYPES.get(SCHEMA.field(name).type, "sc:Text"), splits) for name in TOLD]
    return {
        "@context": {
            "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
            "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo", "column": "cr:column",
            "recordSet": "cr:recordSet", "field": "cr:field", "fileSet": "cr:fileSet", "extract": "cr:extract",
            "source": "cr:source", "includes": "cr:includes", "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": _title(job),
        "description": "Pairs of pictures and what a model made of them by words.",
        "license": job.license,
        "distribution": files,
        "recordSet": [{"@type": "cr:RecordSet", "@id": "pairs", "name": "pairs", "field": fields}],
    }  # fmt: skip


def _field(name: str, kind: str, splits: Sequence[str]) -> dict[str, Any]:
    sources = [{"fileSet": {"@id": f"files-{split}"}, "extract": {"column": name}} for split in splits]
    return {
        "@type": "cr:Field",
        "@id": f"pairs/{name}",
        "name": name,
        "dataType": kind,
        "source": sources[0] if len(sources) == 1 else sources,
    }
