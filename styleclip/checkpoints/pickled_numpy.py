"""NumPy's part of a pickle as data: numbers become Python's own, arrays stay closed. NumPy itself is never called."""

from __future__ import annotations

import pickle
import struct
from typing import Any

CODES = {
    "b1": "?",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
"""NumPy's name of a type → that of the module struct."""


class InertArray:
    """An array as it was stored, which no generator reads: StyleGAN3 keeps some beside its tensors."""

    def __setstate__(self, state: Any) -> None:
        pass


class InertKind:
    """A dtype as it was stored."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, …), where "|" and "=" say nothing
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


def _number(kind: Any, data: Any) -> bool | int | float | InertArray:
    """The number that a dtype and its bytes describe; closed, as an array is, when it is no plain number.

    Raises UnpicklingError when the bytes are not as many as the dtype needs.
    """
    if not isinstance(kind, InertKind) or not isinstance(kind.code, str) or kind.code not in CODES:
        return InertArray()
    form = kind.order + CODES[kind.code]
    if not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        raise pickle.UnpicklingError(f"a NumPy number of type {kind.code} with other bytes than it needs")
    number: bool | int | float = struct.unpack(form, data)[0]
    return number


def numpy_names() -> dict[tuple[str, str], Any]:
    """What a pickle asks for when NumPy's numbers and arrays are in it, whichever NumPy and pickler wrote it.

    Made anew for every file, so that nothing that a file does to the classes outlives it.
    """

    class Array(InertArray):
        pass

    class Kind(InertKind):
        pass

    def closed(*_: Any) -> Array:
        return Array()

    def scalar(kind: Any, data: Any = None) -> Any:
        return _number(kind, data)

    names: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): Kind,
        ("numpy", "ndarray"): Array,
        ("dill._dill", "_create_array"): closed,  # StyleGAN-XL pickles with dill
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "scalar"] = scalar
        names[f"{core}.multiarray", "_reconstruct"] = closed
        names[f"{core}.numeric", "_frombuffer"] = closed
    return names
