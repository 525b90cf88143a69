"""The part of evaluate that sets methods against each other: same images, same words, matched strength."""

from __future__ import annotations

import io
from itertools import groupby
from typing import Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact

from flows.common.artifacts import as_data_uri, markdown_table, picture_column
from flows.common.outcome import gather
from flows.common.progress import RunProgress
from flows.forms.edits import MapperForm, edit_form
from flows.forms.files import read_edits
from flows.forms.grid import expand, own_name
from flows.forms.runs import EvaluateParams
from storage import uris
from storage.metrics import write_table
from styleclip.edits import Edit
from styleclip.errors import EditError
from tasks.edit.plan import neutral_words
from tasks.evaluate.compare import MatchJob, compare_methods
from tasks.evaluate.contests import avatar_contest, contested

COLUMNS = (
    "edit", "method", "strength", "matched", "reached", "pictures", "success", "dependency", "worst_change", "worst",
    "identity", "clip_gain", "directional_similarity", "judge_directional_similarity", "distance_source_reconstruction",
    "distance_reconstruction_edit", "ms_per_edit", "failed",
)  # fmt: skip
SHOWN = (
    "edit",
    "method",
    "strength",
    "matched",
    "reached",
    "success",
    "dependency",
    "identity",
    "ms_per_edit",
)


def compare(params: EvaluateParams, again: str) -> list[dict[str, Any]]:
    """One task per group of words, then the table: methods.parquet, an artifact, and a strip of pictures per group."""
    job = MatchJob(
        **params.model_dump(include={"bundle", "device", "directions", "output", "folder", "images", "choose_images"}),
        batch=params.batch,
    )  # fmt: skip
    groups = contests(params)
    with RunProgress("compare-progress", "compared", len(groups), unit="edits") as progress:
        futures = [compare_methods.submit(job, group, edits) for group, edits in groups.items()]
        found = [row for rows in gather(futures, progress, again) for row in rows]
    table = [{column: row.get(column) for column in COLUMNS} for row in found]
    write_table(uris.join(params.output, "methods.parquet"), pd.DataFrame(table))
    strips = [uris.read_bytes(uris.join(params.output, "methods", f"{group}.png")) for group in groups]
    captions = [
        f"{group}: reconstruction, {', '.join(edit.method for edit in edits)}"
        for group, edits in groups.items()
    ]
    sheet = picture_column(strips, captions)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    uris.write_bytes(uris.join(params.output, "methods.png"), buffer.getvalue())
    create_markdown_artifact(
        f"## Methods at matched strength\n\n{markdown_table([{k: row[k] for k in SHOWN} for row in table])}\n\n"
        f"![reconstruction above, then one row per method]({as_data_uri(sheet)})\n",
        key="methods",
        description=f"{params.images} images, results in {params.output}",
    )
    return table


def contests(params: EvaluateParams) -> dict[str, list[Edit]]:
    """Group → the edits that stand against each other; the first of each group sets the strength of the others.

    From the edits file, edits with the same target are a group. Raises EditError where a group has one method only.
    """
    if params.edits_file:
        specs = read_edits(params.edits_file)
        if nameless := [spec for spec in specs if isinstance(spec, MapperForm) and not spec.target]:
            raise EditError(f"mapper '{nameless[0].mapper}' needs a 'target': edits are compared by it")
    else:
        specs = [
            edit_form(**fields)
            for edit in params.compare_edits or contested()
            for fields in avatar_contest(edit, params.compare)
        ]
    neutral = neutral_words(params.bundle)
    specs.sort(key=lambda spec: str(spec.target))  # stable: the order of methods stays
    groups: dict[str, list[Edit]] = {}
    for target, members in groupby(specs, key=lambda spec: spec.target):
        same = list(members)
        if len(same) < 2:
            raise EditError(
                f"'{target}' is asked of one method only: give it by two or more, or leave it out"
            )
        group = own_name(same[0], same[0].neutral or neutral)
        while group in groups:  # other words may leave the same name
            group += "-2"
        named = [spec.model_copy(update={"name": f"{group}-{number}"}) for number, spec in enumerate(same)]
        groups[group] = expand(named, neutral)
    return groups
