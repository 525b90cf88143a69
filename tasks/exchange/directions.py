"""Directions in and out of the published formats, for `styleclip directions import` and `export`."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import Any

import numpy as np

from storage import fs3
from storage.directions import DirectionStore
from storage.errors import StorageError
from storage.numpy_files import read_file
from styleclip.bundles.load import Bundle
from styleclip.directions import STATISTICS_BATCH, style_statistics
from styleclip.errors import BundleError
from styleclip.networks.layout import StyleLayout
from tasks.process.models import bundle

BLOCK = 256


def import_directions(
    name: str, device: str, rows_uri: str, statistics_uri: str, output: str
) -> dict[str, Any]:
    """The published `fs3.npy` and `S_mean_std` as a finished directions store of the bundle `name`.

    The rows are those of the first complete convolution layers; channels of later layers get zeros, and no edit moves
    them. {store, channels, covered, layers, last_layer, without_direction}. Raises StorageError when the files do not
    hold what they should, or do not fit the generator or the CLIP of the bundle.
    """
    models = bundle(name, device)
    layout = models.generator.layout
    rows = fs3.read_fs3(rows_uri)
    layers = _layers_of(layout, len(rows), rows_uri)
    if rows.shape[1] != models.clip.dim:
        raise StorageError(
            f"{rows_uri} holds directions of length {rows.shape[1]}, the embeddings of {models.clip.name} in bundle "
            f"'{models.name}' have length {models.clip.dim}: they were made with another CLIP"
        )
    (mean, torgb_mean), (std, torgb_std) = (
        _by_kind(layout, values, statistics_uri) for values in fs3.read_mean_std(statistics_uri)
    )
    attrs = {
        "bundle": models.name,
        "weights": {role: models.fingerprint[role] for role in ("generator", "clip")},
        "clip": models.clip.name,
        "source": "imported",
        "imported": {uri.rsplit("/", 1)[-1]: _digest(uri) for uri in (rows_uri, statistics_uri)},
        "covered": len(rows),
    }
    if DirectionStore.exists(output):
        store = DirectionStore.open(output, expected=attrs)
    else:
        store = DirectionStore.create(
            output,
            layer_names=[layer.name for layer in layout.layers],
            layer=np.asarray(layout.layer_of),
            channel=np.asarray(layout.channel_of),
            dim=models.clip.dim,
            mean=mean,
            std=std,
            attrs=attrs,
            block=BLOCK,
        )
    whole = np.zeros((layout.conv_count, models.clip.dim), np.float32)
    whole[: len(rows)] = rows
    torgb = None if torgb_mean is None or torgb_std is None else (torgb_mean, torgb_std)
    store.adopt(whole, torgb)
    return {
        "store": output,
        "channels": layout.conv_count,
        "covered": len(rows),
        "layers": layers,
        "last_layer": layout.conv_layers[layers - 1].name,
        "without_direction": int((~rows.any(axis=1)).sum()),
    }


def _layers_of(layout: StyleLayout, count: int, uri: str) -> int:
    """How many convolution layers `count` rows are. Raises StorageError when they end inside a layer."""
    fitting = list(accumulate(layer.channels for layer in layout.conv_layers))
    if count not in fitting:
        raise StorageError(
            f"{uri} holds {count} rows, which is no number of complete layers of this generator: "
            f"{fitting[-1]} rows are all its convolution layers, "
            f"{', '.join(str(number) for number in fitting[:-1])} its first ones"
        )
    return fitting.index(count) + 1


def _by_kind(layout: StyleLayout, values: list[np.ndarray], uri: str) -> tuple[np.ndarray, np.ndarray | None]:
    """One array per layer → those of the convolutions and, where the file has them, of the ToRGB layers."""
    if len(values) == len(layout.layers):
        layers = layout.layers
    elif len(values) == len(layout.conv_layers):
        layers = layout.conv_layers
    else:
        raise StorageError(
            f"{uri} describes {len(values)} layers; this generator has {len(layout.layers)} style layers, of which "
            f"{len(layout.conv_layers)} are convolutions"
        )
    for layer, array in zip(layers, values, strict=True):
        if len(array) != layer.channels:
            raise StorageError(
                f"{uri}: {layer.name} has {layer.channels} channels in this generator and {len(array)} in the file: "
                "it belongs to another generator"
            )
    split = {
        kind: [array for layer, array in zip(layers, values, strict=True) if layer.kind == kind]
        for kind in ("conv", "torgb")
    }
    return np.concatenate(split["conv"]), np.concatenate(split["torgb"]) if split["torgb"] else None


def _digest(uri: str) -> str:
    return hashlib.sha256(read_file(uri)).hexdigest()


def export_directions(name: str | None, device: str, uri: str, folder: str) -> dict[str, Any]:
    """A finished store as `fs3.npy` and `S_mean_std` in `folder`.

    The published format wants the statistics of ToRGB channels, too: they come out of the store where it was imported
    with them, and otherwise are computed once more from the samples that the store's own statistics came from, which
    needs its bundle (`name`, or the one that the store names). {fs3, mean_std, rows, layers}. Raises StorageError for a
    store that is not finished or whose files are there already, BundleError when the bundle is not the store's.
    """
    store = DirectionStore.open(uri)
    rows = store.directions()[: store.attrs.get("covered")]
    models = bundle(name or str(store.attrs["bundle"]), device)
    layout = models.generator.layout
    given = store.attrs["weights"]["generator"]
    if models.fingerprint["generator"] != given:
        raise BundleError(
            f"{uri} belongs to another generator (sha256 {given[:12]}…) than that of bundle '{models.name}': "
            "name its own with --bundle"
        )
    torgb = store.torgb or _torgb_statistics(models, store)
    means, stds = (
        _per_layer(layout, conv, rest) for conv, rest in zip((store.mean, store.std), torgb, strict=True)
    )
    fs3.write_published(folder, rows, means, stds)
    return {
        "fs3": f"{folder.rstrip('/')}/{fs3.FS3}",
        "mean_std": f"{folder.rstrip('/')}/{fs3.MEAN_STD}",
        "rows": len(rows),
        "layers": len(means),
    }


def _torgb_statistics(models: Bundle, store: DirectionStore) -> tuple[np.ndarray, np.ndarray]:
    """Mean and σ of the ToRGB channels over the very samples of the store's statistics, float32 [C_torgb]."""
    attrs = store.attrs
    if "statistics_samples" not in attrs:
        raise StorageError(
            f"{store.uri} was imported without statistics of ToRGB channels, so S_mean_std cannot be written: "
            "use the file that it was imported from"
        )
    mean, std = style_statistics(
        models.generator, attrs["statistics_samples"], attrs["seed"], attrs["psi"], STATISTICS_BATCH
    )
    of_torgb = [
        slice(layer.start, layer.stop) for layer in models.generator.layout.layers if layer.kind == "torgb"
    ]
    first, second = (
        np.concatenate([values[part].cpu().numpy() for part in of_torgb]) for values in (mean, std)
    )
    return first, second


def _per_layer(layout: StyleLayout, conv: np.ndarray, torgb: np.ndarray) -> list[np.ndarray]:
    """Values of convolution and of ToRGB channels → one array per layer, in network order."""
    rest = {"conv": conv, "torgb": torgb}
    parts = []
    for layer in layout.layers:
        part, rest[layer.kind] = np.split(rest[layer.kind], [layer.channels])
        parts.append(part)
    return parts
