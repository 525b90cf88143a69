"""NumPy arrays from files of strangers: .npy, and pickles of plain arrays, read without executing anything."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage import uris
from storage.errors import StorageError

_WIDTHS = {"f2": 2, "f4": 4, "f8": 8}


def read_file(uri: str) -> bytes:
    """A file's bytes. Raises StorageError when it is not there or cannot be read."""
    try:
        return uris.read_bytes(uri)
    except (ConnectionError, TimeoutError):
        raise
    except FileNotFoundError as error:
        raise StorageError(f"no such file: {uri}") from error
    except OSError as error:
        raise StorageError(f"{uri} cannot be read: {error.strerror or error}") from error


def read_npy(uri: str) -> np.ndarray:
    """A .npy file of floating-point numbers of any width → float32.

    Raises StorageError for anything else: Python objects are never loaded, and a header that promises more than the
    file holds is refused before memory is set aside for it.
    """
    data = read_file(uri)
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise StorageError(f"{uri} is no .npy file ({_line(error)})") from error
    if dtype.kind != "f":
        raise StorageError(f"{uri} holds values of type {dtype}; floating-point numbers are wanted")
    promised, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if min(shape, default=0) < 0 or promised != there:
        raise StorageError(
            f"{uri} is cut off or damaged: its header promises {promised:,} bytes of numbers, it holds {there:,}"
        )
    return np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)


def write_npy(uri: str, array: np.ndarray) -> None:
    """Write an array as .npy; whole or absent."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    uris.write_bytes(uri, buffer.getvalue())


class _Refused(pickle.UnpicklingError):
    pass


@dataclass
class _Array:
    """What a pickle says of an array, not yet believed."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass
class _Kind:
    """What a pickle says of a dtype."""

    code: Any
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Callable:
    """A stand-in for one of NumPy's functions; a pickle can call it and change nothing of it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a function has no state")


def _text_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str):
        raise _Refused("encode() of something that is no text")
    return text.encode("latin1")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    return _Array((1, shape, kind, order == "F", data))


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): lambda: None,
    ("numpy", "dtype"): lambda code, *_: _Kind(code),
    ("_codecs", "encode"): _text_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[_core + ".multiarray", "_reconstruct"] = lambda *_: _Array()
    _ADMITTED[_core + ".numeric", "_frombuffer"] = _from_buffer


class _Reader(pickle.Unpickler):
    """Knows lists, tuples, numbers, texts and descriptions of arrays. NumPy itself is never called."""

    def find_class(self, module: str, name: str) -> Any:
        if (make := _ADMITTED.get((module, name))) is None:
            raise _Refused(f"it asks for {module}.{name}, and only plain arrays are read")
        return _Callable(make)

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("it refers to something outside of it")


def read_pickled_arrays(uri: str) -> list[list[np.ndarray]]:
    """A pickle of a list of lists of floating-point arrays, of any NumPy and any pickle protocol, as float32.

    The file is read as a description: whatever names another function or class than the ones that arrays are made of
    is refused by name, and nothing is executed. Raises StorageError.
    """
    data = read_file(uri)
    try:
        _check_lengths(data)
        found = _Reader(io.BytesIO(data), encoding="latin1").load()
        if not isinstance(found, list | tuple) or not all(isinstance(part, list | tuple) for part in found):
            raise _Refused("a list of lists of arrays is wanted")
        return [[_believe(entry) for entry in part] for part in found]
    except Exception as error:  # a hostile or damaged pickle may raise anything
        raise StorageError(f"{uri} cannot be read as a pickle of arrays: {_line(error)}") from error


def _check_lengths(data: bytes) -> None:
    """Refuse operations that would set aside more memory than the file has bytes (genops checks lengths of data)."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in ("PUT", "LONG_BINPUT") and (argument is None or argument > len(data)):
            raise _Refused("it is damaged")


def _believe(entry: Any) -> np.ndarray:
    """The array that a description describes, when it is sound."""
    if not isinstance(entry, _Array) or not isinstance(entry.state, tuple) or len(entry.state) != 5:
        raise _Refused("one of its entries is no array")
    _, shape, kind, fortran, raw = entry.state
    if not isinstance(kind, _Kind) or kind.code not in _WIDTHS:
        raise _Refused(f"an array of type {getattr(kind, 'code', kind)}; floating-point numbers are wanted")
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    if isinstance(raw, str):  # pickles of Python 2
        raw = raw.encode("latin1")
    sizes = shape if isinstance(shape, tuple) else (-1,)
    if not all(isinstance(size, int) and size >= 0 for size in sizes) or not isinstance(
        raw, bytes | bytearray
    ):
        raise _Refused("an array without a sound shape")
    if math.prod(sizes) * _WIDTHS[kind.code] != len(raw):
        raise _Refused(f"an array of shape {sizes} with {len(raw)} bytes")
    flat = np.frombuffer(raw, np.dtype(kind.code).newbyteorder(">" if order == ">" else "<"))
    return flat.reshape(sizes, order="F" if fortran else "C").astype(np.float32)


def write_pickled_arrays(uri: str, parts: list[list[np.ndarray]]) -> None:
    """Write what `read_pickled_arrays` reads, such that NumPy 1 and 2 and Python 3.4 and later load it as well."""
    # Protocol 3 names functions in plain text; NumPy 1 knows this one by its older address only.
    data = pickle.dumps([[np.ascontiguousarray(array) for array in part] for part in parts], protocol=3)
    uris.write_bytes(uri, data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
