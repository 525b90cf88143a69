"""Latent codes in and out of the files that others keep them in, for `styleclip latents import` and `export`."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storage import uris
from storage.errors import StorageError
from storage.latents import LatentStore, bad_ids
from storage.numpy_files import read_file, read_npy, write_npy
from tasks.process.models import bundle

SHARD_SIZE = 32
ENDINGS = (".npy", ".pt")


def import_latents(name: str, device: str, uri: str, ids_uri: str | None, output: str) -> dict[str, Any]:
    """Codes of a `.npy` or `.pt` file as a latents store of the bundle `name`; {store, images,
    num_ws, w_dim, in_w: whether every code is one row repeated}.

    The file holds [N, num_ws, w_dim] (`w_plus.npy`, e4e's and StyleCLIP's `latents.pt`), one code [num_ws, w_dim], a
    list of such, a dictionary id → code, or codes in W [N, w_dim] (`W.npy`), each of which serves all rows. Ids come
    from the dictionary, from the lines of `ids_uri`, or are numbers, 000000 and on. Raises StorageError for a file that
    holds something else or does not fit the bundle's generator.
    """
    models = bundle(name, device)
    shape = (models.generator.num_ws, models.generator.w_dim)
    codes, ids = _read(uri, shape)
    if ids_uri is not None:
        ids = [
            line.strip()
            for line in read_file(ids_uri).decode("utf-8", "replace").splitlines()
            if line.strip()
        ]
        if len(ids) != len(codes):
            raise StorageError(
                f"{ids_uri} holds {len(ids)} ids, {uri} {len(codes)} codes: give one line for each code"
            )
    ids = ids or [f"{number:06d}" for number in range(len(codes))]
    if bad := bad_ids(ids):
        raise StorageError(
            f"'{bad[0]}' cannot be an id: ids name files, so they have at most 140 letters, digits, '.', '_' and '-'"
        )
    attrs = {
        "bundle": models.name,
        "weights": {"generator": models.fingerprint["generator"]},
        "source": "imported",
        "imported": {uri.rsplit("/", 1)[-1]: hashlib.sha256(read_file(uri)).hexdigest()},
    }
    if LatentStore.exists(output):
        store = LatentStore.open(output, expected=attrs | {"ids": ids})
    else:
        store = LatentStore.create(output, ids, *shape, attrs, SHARD_SIZE)
    for shard in store.missing_shards():
        part = codes[shard * store.shard_size : (shard + 1) * store.shard_size]
        store.write_shard(shard, part, np.ones(len(part), bool))
    return {
        "store": output, "images": len(ids), "num_ws": shape[0], "w_dim": shape[1],
        "in_w": bool((codes == codes[:, :1]).all()) and shape[0] > 1,
    }  # fmt: skip


def export_latents(uri: str, output: str) -> dict[str, Any]:
    """A store's codes as one array [N, num_ws, w_dim] in `output`, a `.npy` or `.pt` file, and their ids beside it.

    {latents, ids, images, without_code}: images whose inversion failed have no code and are left out. Raises
    StorageError when nothing is there to export, and when a file is there already.
    """
    ending = next((ending for ending in ENDINGS if output.endswith(ending)), None)
    if ending is None:
        raise StorageError(f"{output}: codes are written as .npy or .pt")
    names = output.removesuffix(ending) + ".ids.txt"
    for place in (output, names):
        if uris.exists(place):
            raise StorageError(f"{place} is there already: choose another name or move it away")
    store = LatentStore.open(uri)
    if missing := store.missing_shards():
        raise StorageError(
            f"{uri} is not finished ({len(missing)} shards missing): run invert again to finish it"
        )
    ok = store.ok
    if not ok.any():
        raise StorageError(f"{uri} holds no code: the inversion of every image failed")
    codes = store.read()[ok]
    ids = [id_ for id_, good in zip(store.ids, ok, strict=True) if good]
    if ending == ".npy":
        write_npy(output, codes)
    else:
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(codes), buffer)
        uris.write_bytes(output, buffer.getvalue())
    uris.write_bytes(names, "".join(f"{id_}\n" for id_ in ids).encode())
    return {"latents": output, "ids": names, "images": len(ids), "without_code": int((~ok).sum())}


def _read(uri: str, shape: tuple[int, int]) -> tuple[np.ndarray, list[str] | None]:
    """(codes float32 [N, num_ws, w_dim], ids where the file names them)."""
    if uri.endswith(".npy"):
        return _fitting(read_npy(uri), shape, uri), None
    if not uri.endswith(".pt"):
        raise StorageError(f"{uri}: codes are read from .npy and .pt files")
    data = read_file(uri)
    _check_packing(data, uri)
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file may fail anywhere inside the reader
        why = " ".join(str(error).split())[:160]
        raise StorageError(f"{uri} cannot be read as tensors, and nothing else is read: {why}") from error
    if isinstance(found, Mapping):
        values = list(found.values())
        if len(values) == 1 and isinstance(values[0], Tensor) and values[0].ndim == 3 and len(values[0]) > 1:
            return _fitting(values[0], shape, uri), None
        return _stacked(values, shape, uri), [str(key) for key in found]
    if isinstance(found, list | tuple):
        return _stacked(found, shape, uri), None
    return _fitting(found, shape, uri), None


def _check_packing(data: bytes, uri: str) -> None:
    """Refuse an archive that would unpack to more than the file holds: torch compresses nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        return  # the older format, or none at all: torch will say
    if unpacked > len(data):
        raise StorageError(f"{uri} would unpack to {unpacked:,} bytes, which no file written by torch does")


def _stacked(values: Sequence[Any], shape: tuple[int, int], uri: str) -> np.ndarray:
    codes = [_fitting(value, shape, uri) for value in values]
    if not codes:
        raise StorageError(f"{uri} holds no codes")
    if any(len(code) != 1 for code in codes):
        raise StorageError(f"{uri} holds several codes in one entry; wanted is one for each")
    return np.concatenate(codes)


def _fitting(value: Any, shape: tuple[int, int], uri: str) -> np.ndarray:
    """One code or many → float32 [N, num_ws, w_dim]."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or not value.is_floating_point():
            raise StorageError(
                f"{uri} holds a tensor of {value.dtype}, {value.layout}; plain real numbers are wanted"
            )
        if value.shape[:1].numel() * shape[1] * value.element_size() > value.untyped_storage().nbytes():
            raise StorageError(f"{uri} promises codes of shape {list(value.shape)} and does not hold them")
        value = value.detach().float().numpy()
    if not isinstance(value, np.ndarray):
        raise StorageError(
            f"{uri} holds {type(value).__name__} where a code [{shape[0]}, {shape[1]}] is wanted"
        )
    if value.ndim == 2 and value.shape[1] == shape[1] and value.shape != shape:
        # codes in W, such as StyleCLIP's W.npy: one row serves all
        value = np.repeat(value[:, None], shape[0], axis=1)
    codes = value[None] if value.shape == shape else value
    if codes.ndim != 3 or codes.shape[1:] != shape or not len(codes):
        raise StorageError(
            f"{uri} holds codes of shape {list(value.shape)}; the generator of this bundle reads "
            f"[N, {shape[0]}, {shape[1]}]: they belong to another one"
        )
    codes = codes.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(codes).all(axis=(1, 2)))
    if len(bad):
        raise StorageError(f"{uri}: code {bad[0]} is not finite ({len(bad)} such codes)")
    return codes
