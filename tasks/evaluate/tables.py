"""What evaluations leave in their folder: tables, strengths to use again, and pictures under each other."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from avatars.judging.evaluation import Score, Strength
from storage import uris
from storage.errors import StorageError
from storage.metrics import write_table
from tasks.evaluate.compare import MethodRow
from tasks.evaluate.costs import CostRow
from tasks.process.sheets import picture_column


@dataclass(frozen=True)
class Scores:
    """Edits scored; `reached`: how many are strong enough and leave the rest alone."""

    output: str
    table: list[Score]
    edits: int
    reached: int


def write_scores(output: str, table: list[Score]) -> Scores:
    """evaluation.parquet, and strengths.json that a later evaluation can be given."""
    write_table(uris.join(output, "evaluation.parquet"), pd.DataFrame([row.to_row() for row in table]))
    chosen = {row.edit: {"alpha": row.alpha, "channels": row.channels} for row in table}
    uris.write_bytes(uris.join(output, "strengths.json"), json.dumps(chosen, indent=1).encode())
    return Scores(output, table, len(table), sum(row.reached for row in table))


def read_strengths(uri: str) -> dict[str, Strength]:
    """Edit → strength, as `write_scores` wrote them. Raises StorageError for any other file."""
    try:
        found = json.loads(uris.read_bytes(uri))
        return {
            str(edit): Strength(float(each["alpha"]), int(each["channels"])) for edit, each in found.items()
        }
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:160]
        raise StorageError(
            f"strengths file {uri} cannot be used ({type(error).__name__}: {why}): give the strengths.json of an "
            "earlier evaluation"
        ) from error


def write_methods(output: str, table: Sequence[MethodRow], captions: Mapping[str, str]) -> bytes:
    """methods.parquet and methods.png, the strips of all groups under each other; the latter's bytes.

    captions: group → what stands above its strip.
    """
    write_table(uris.join(output, "methods.parquet"), pd.DataFrame([asdict(row) for row in table]))
    strips = [uris.read_bytes(uris.join(output, "methods", f"{group}.png")) for group in captions]
    buffer = io.BytesIO()
    picture_column(strips, list(captions.values())).save(buffer, "PNG")
    uris.write_bytes(uris.join(output, "methods.png"), buffer.getvalue())
    return buffer.getvalue()


def write_costs(output: str, table: Sequence[CostRow]) -> None:
    """costs.parquet."""
    write_table(uris.join(output, "costs.parquet"), pd.DataFrame([asdict(row) for row in table]))
