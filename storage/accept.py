"""Which rows are wanted, such as `identity > 0.8 and clip_gain > 0.1`: parsed and checked, never run as code.

Known are the columns of the rows (the measures of an edit by short names, too), numbers, texts in quotes, comparisons,
`in [..]`, and, or, not, + - * / and brackets. A comparison with a null is false.
"""

from __future__ import annotations

import ast
import difflib
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from storage.errors import StorageError
from storage.metrics import SCHEMA

SHORT = {
    "identity": "identity_reconstruction_edit",
    "gain": "clip_gain",
    "direction": "directional_similarity",
    "pixels": "distance_reconstruction_edit",
    "clipped": "clipped_share",
    "channels": "channels_used",
}
"""Short names of measures, as the report calls them → columns."""
MAX_LENGTH, MAX_NODES = 2000, 200

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


@dataclass(frozen=True)
class Accept:
    """A checked condition. An empty text accepts all rows."""

    text: str
    tree: ast.expr | None
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Accept:
        """Raises StorageError with what is wrong and what is known."""
        if not text.strip():
            return cls(text, None, ())
        try:
            if len(text) > MAX_LENGTH:
                raise StorageError(
                    f"accept: the condition has {len(text)} characters; the limit is {MAX_LENGTH}"
                )
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = getattr(error, "msg", None) or str(error)
            raise StorageError(
                f"accept: '{text}' is no condition ({why}); write for example: identity > 0.8 and clip_gain > 0.1"
            ) from error
        nodes = list(ast.walk(tree))
        if len(nodes) > MAX_NODES:
            raise StorageError(f"accept: the condition has {len(nodes)} parts; the limit is {MAX_NODES}")
        if not _is_condition(tree):
            raise StorageError(f"accept: '{text}' says no yes or no: compare it with something")
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        return cls(text, tree, tuple(sorted(_column(name) for name in names)))

    def mask(self, rows: pa.Table) -> np.ndarray:
        """Which rows are accepted, bool [n]. Raises StorageError for a comparison of text with numbers."""
        if self.tree is None:
            return np.ones(len(rows), bool)
        frame = rows.select(list(self.columns)).to_pandas() if self.columns else pd.DataFrame()
        try:
            found = _value(self.tree, frame)
        except TypeError as error:
            raise StorageError(f"accept: '{self.text}' compares text with numbers ({error})") from error
        return np.broadcast_to(np.asarray(found, bool), len(rows)).copy()


def _column(name: str) -> str:
    column = SHORT.get(name, name)
    if column not in SCHEMA.names:
        known = [*SHORT, *SCHEMA.names]
        near = difflib.get_close_matches(name, known, 1)
        raise StorageError(
            f"accept: rows have no column '{name}'"
            + (f"; did you mean '{near[0]}'?" if near else f" (known: {', '.join(known)})")
        )
    return column


def _is_condition(node: ast.expr) -> bool:
    """Check a part that says yes or no; StorageError for anything that is not known."""
    if isinstance(node, ast.BoolOp):
        return all([_is_condition(each) for each in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _is_condition(node.operand)
    if isinstance(node, ast.Compare):
        _check_value(node.left)
        for kind, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(kind, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple):
                for each in right.elts:
                    _check_value(each)
            elif type(kind) in _COMPARE:
                _check_value(right)
            else:
                raise StorageError(
                    f"accept: '{ast.unparse(node)}' is not known; compare with <, <=, ==, !=, >=, > or in [..]"
                )
        return True
    if isinstance(node, ast.Name):
        return SCHEMA.field(_column(node.id)).type == pa.bool_()
    return False


def _check_value(node: ast.expr) -> None:
    if isinstance(node, ast.Name):
        _column(node.id)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _check_value(node.left)
        _check_value(node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check_value(node.operand)
    elif not (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str)):
        raise StorageError(
            f"accept: '{ast.unparse(node)}' is not known: use columns, numbers and texts in quotes"
        )


def _value(node: ast.expr, rows: pd.DataFrame) -> Any:
    """The value of a checked part: a column or a constant; conditions are columns of yes and no without nulls."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        column = rows[SHORT.get(node.id, node.id)]
        return column.eq(True) if SCHEMA.field(column.name).type == pa.bool_() else column
    if isinstance(node, ast.BoolOp):
        parts = [np.asarray(_value(each, rows), bool) for each in node.values]
        return functools.reduce(operator.and_ if isinstance(node.op, ast.And) else operator.or_, parts)
    if isinstance(node, ast.BinOp):
        return _ARITHMETIC[type(node.op)](_value(node.left, rows), _value(node.right, rows))
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, rows)
        if isinstance(node.op, ast.Not):
            return ~np.asarray(inner, bool)
        return -inner if isinstance(node.op, ast.USub) else inner
    assert isinstance(node, ast.Compare), ast.dump(node)
    found, left = np.asarray(True), _value(node.left, rows)
    for kind, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(kind, ast.In | ast.NotIn):
            assert isinstance(right, ast.List | ast.Tuple), ast.dump(right)
            inside = [_compared(operator.eq, left, _value(each, rows)) for each in right.elts]
            held = functools.reduce(operator.or_, inside, np.asarray(False))
            held = ~held & _known(left) if isinstance(kind, ast.NotIn) else held
            other: Any = left
        else:
            other = _value(right, rows)
            held = _compared(_COMPARE[type(kind)], left, other)
        found, left = found & held, other
    return found


def _compared(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> np.ndarray:
    held = compare(left, right)
    held = held.fillna(False) if isinstance(held, pd.Series) else held
    return np.asarray(held, bool) & _known(left) & _known(right)


def _known(value: Any) -> np.ndarray:
    return np.asarray(pd.notna(value), bool)
