"""Channel directions as StyleCLIP publishes them: `fs3.npy` and `S_mean_std`.

`fs3.npy` is float32 [K, D], one unit row per convolution style channel in network order, complete layers from the
first one on (5376 rows, the layers up to 128 px, or all 6048 for FFHQ at 1024²). `S_mean_std` is a pickle of two lists,
the mean and the standard deviation of every style layer, ToRGB layers included (orpatashnik/StyleCLIP, global_torch).
"""

from __future__ import annotations

import numpy as np

from storage import uris
from storage.errors import StorageError
from storage.numpy_files import read_npy, read_pickled_arrays, write_npy, write_pickled_arrays

FS3, MEAN_STD = "fs3.npy", "S_mean_std"
_UNIT = 1e-2


def read_fs3(uri: str) -> np.ndarray:
    """Directions float32 [K, D]; rows that are not a number (channels without any effect) become zeros.

    Raises StorageError for another shape, and for rows that are neither of length 1 nor 0.
    """
    rows = read_npy(uri)
    if rows.ndim != 2 or 0 in rows.shape:
        raise StorageError(
            f"{uri} holds an array of shape {rows.shape}; channel directions are [channels, D]"
        )
    rows = np.where(np.isnan(rows).any(axis=1, keepdims=True), np.float32(0), rows)
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~((abs(length - 1) < _UNIT) | (length == 0)))
    if len(wrong):
        raise StorageError(
            f"{uri}: row {wrong[0]} has the length {length[wrong[0]]:.4g} where directions have length 1 "
            f"({len(wrong)} such rows): this is not the published fs3.npy"
        )
    return rows


def read_mean_std(uri: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(means, standard deviations), one float32 [C] per style layer. Raises StorageError for anything else."""
    parts = read_pickled_arrays(uri)
    if len(parts) != 2 or len(parts[0]) != len(parts[1]):
        raise StorageError(
            f"{uri} holds {len(parts)} lists of {[len(part) for part in parts]} arrays; wanted are two, of means and "
            "of standard deviations, with one array per style layer"
        )
    means, stds = ([array.ravel() for array in part] for part in parts)
    for number, (mean, std) in enumerate(zip(means, stds, strict=True)):
        if mean.shape != std.shape:
            raise StorageError(
                f"{uri}: layer {number} has {len(mean)} means and {len(std)} standard deviations"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
            raise StorageError(
                f"{uri}: layer {number} holds values that are no means and standard deviations"
            )
    return means, stds


def write_published(folder: str, rows: np.ndarray, means: list[np.ndarray], stds: list[np.ndarray]) -> None:
    """Write both files into `folder`. Raises StorageError, writing nothing, when one of them is there already."""
    assert rows.ndim == 2 and len(means) == len(stds), (rows.shape, len(means), len(stds))
    for name in (FS3, MEAN_STD):
        if uris.exists(uris.join(folder, name)):
            raise StorageError(
                f"{uris.join(folder, name)} is there already: choose another folder or move it away"
            )
    write_npy(uris.join(folder, FS3), rows.astype(np.float32))
    write_pickled_arrays(uris.join(folder, MEAN_STD), [means, stds])
