"""One pack of pairs: a folder of pictures, a Parquet file or a tar, there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task

from storage import parquet, uris
from storage.errors import ImageError, StoreCorrupt
from storage.image_headers import format_of
from storage.images import read_image
from storage.metrics import SCHEMA
from tasks.export.plan import TOLD, Pack, rows_file
from tasks.jobs import ExportJob
from tasks.process.retries import RETRIES, RETRY_SECONDS, worth_another_try

READERS, TOGETHER = 8, 32
"""Threads that read pictures, and pairs that are in memory at once."""
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ENDINGS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}


@dataclass(frozen=True)
class Pair:
    """A source and its edit as the bytes of their files; row: what is told of them. A key holds no dot."""

    key: str
    source: bytes
    edited: bytes
    row: dict[str, Any]

    def names(self) -> tuple[str, str]:
        """File names of source and edit."""
        kinds = [_ENDINGS[format_of(data) or "PNG"] for data in (self.source, self.edited)]
        return f"{self.key}.source.{kinds[0]}", f"{self.key}.edited.{kinds[1]}"


def place_of(job: ExportJob, pack: Pack) -> str:
    """The file whose presence says that a pack is done."""
    if job.to == "imagefolder":
        return uris.join(job.output, pack.split, f"{pack.number:05d}", "metadata.parquet")
    if job.to == "parquet":
        return uris.join(job.output, "data", f"{pack.split}-{pack.number:05d}-of-{pack.of:05d}.parquet")
    return uris.join(job.output, pack.split, f"{pack.number:05d}.tar")


@task(
    name="pack",
    task_run_name="{pack.split} {pack.number}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
)
def write_pack(job: ExportJob, pack: Pack) -> Pack:
    """Write one pack. Raises StoreCorrupt for a picture that is lost, or not the one that its row tells of."""
    rows = parquet.from_bytes(uris.read_bytes(rows_file(job, pack.split, pack.number)))
    writers: dict[str, Callable[[ExportJob, Pack, pa.Table], None]] = {
        "imagefolder": _folder, "parquet": _parquet, "webdataset": _tar,
    }  # fmt: skip
    writers[job.to](job, pack, rows)
    return pack


def _pairs(job: ExportJob, rows: pa.Table) -> Iterator[Pair]:
    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(rows), TOGETHER):
            yield from pool.map(lambda row: _pair(job, row), rows.slice(first, TOGETHER).to_pylist())


def _pair(job: ExportJob, row: Mapping[str, Any]) -> Pair:
    edited = _picture(uris.join(job.run, row["output"]), row["output_sha256"])
    source, kind = _source(job, row)
    told = {name: row[name] for name in TOLD}
    key = f"{row['image_id']}+{row['edit']}".replace(".", "~")  # a reader's key ends at the first dot
    return Pair(key, source, edited, {"key": key, **told, "source_kind": kind})


def _source(job: ExportJob, row: Mapping[str, Any]) -> tuple[bytes, str]:
    """The picture that stands beside an edit, and which of the three it is."""
    name = f"{row['image_id']}.png"
    if job.source == "seen" or (job.source == "auto" and row["source_sha256"]):
        return _picture(uris.join(job.run, "images", "source", name), row["source_sha256"]), "seen"
    if job.source != "reconstruction" and format_of(data := _input(job, row)) in _ENDINGS:
        return data, "input"
    return _picture(
        uris.join(job.run, "images", "reconstruction", name), row["reconstruction_sha256"]
    ), "reconstruction"


def _input(job: ExportJob, row: Mapping[str, Any]) -> bytes:
    """The input's bytes as long as they are those that were edited; none where `auto` may take something else."""
    try:
        data = read_image(row["path"]) if row["path"] else b""
    except ImageError:
        data = b""
    if hashlib.sha256(data).hexdigest()[:16] == row["input_hash"]:
        return data
    if job.source == "input":
        raise StoreCorrupt(
            f"the input {row['path']} is gone or changed: restore it, or export with another source"
        )
    return b""


def _picture(uri: str, digest: str | None) -> bytes:
    try:
        data = read_image(uri)
    except ImageError as error:
        raise StoreCorrupt(
            f"{uri} cannot be exported ({error.reason}): styleclip verify RUN --repair"
        ) from error
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise StoreCorrupt(f"{uri} is not what was written: styleclip verify RUN --repair")
    return data


def _told_schema() -> list[pa.Field]:
    return [
        pa.field("key", pa.string()),
        *(pa.field(name, SCHEMA.field(name).type) for name in TOLD),
        pa.field("source_kind", pa.string()),
    ]


def _folder(job: ExportJob, pack: Pack, rows: pa.Table) -> None:
    told, place = [], place_of(job, pack)
    for pair in _pairs(job, rows):
        names = pair.names()
        for name, data in zip(names, (pair.source, pair.edited), strict=True):
            uris.write_bytes(uris.join(place.rsplit("/", 1)[0], name), data)
        told.append({"source_file_name": names[0], "edited_file_name": names[1], **pair.row})
    files = [pa.field(f"{which}_file_name", pa.string()) for which in ("source", "edited")]
    table = pa.Table.from_pylist(told, pa.schema([*files, *_told_schema()]))
    uris.write_bytes(place, parquet.to_bytes(table), commit=True)


def _parquet(job: ExportJob, pack: Pack, rows: pa.Table) -> None:
    features: dict[str, Any] = {name: {"_type": "Image"} for name in ("source", "edited")}
    features |= {field.name: {"dtype": _dtype(field.type), "_type": "Value"} for field in _told_schema()}
    schema = pa.schema(
        [pa.field("source", _PICTURE), pa.field("edited", _PICTURE), *_told_schema()],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with (
        uris.new_file(place_of(job, pack)) as file,
        pq.ParquetWriter(file, schema, write_page_checksum=True) as writer,
    ):
        waiting: list[dict[str, Any]] = []
        for pair in _pairs(job, rows):
            names = pair.names()
            pictures = zip(("source", "edited"), (pair.source, pair.edited), names, strict=True)
            waiting.append(
                {which: {"bytes": data, "path": name} for which, data, name in pictures} | pair.row
            )
            if len(waiting) == TOGETHER:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema))


def _dtype(kind: pa.DataType) -> str:
    return {pa.float64(): "float64", pa.int64(): "int64", pa.bool_(): "bool"}.get(kind, "string")


def _tar(job: ExportJob, pack: Pack, rows: pa.Table) -> None:
    told, size, place = [], 0, place_of(job, pack)
    with (
        uris.new_file(place) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for pair in _pairs(job, rows):
            source, edited = pair.names()
            text = json.dumps(pair.row, sort_keys=True).encode()
            for name, data in ((source, pair.source), (edited, pair.edited), (f"{pair.key}.json", text)):
                _add(tar, name, data)
                size += len(data)
            told.append(pair.row)
        stem = place.removesuffix(".tar")
        # beside the tar and before it, because the tar is the commit
        uris.write_bytes(
            f"{stem}.parquet", parquet.to_bytes(pa.Table.from_pylist(told, pa.schema(_told_schema())))
        )
        stats = {"count": len(told), "successes": len(told), "failed_to_export": 0, "bytes": size}
        uris.write_bytes(f"{stem}_stats.json", json.dumps(stats, sort_keys=True).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time, no owner: the same pairs give the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
