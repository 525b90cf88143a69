"""styleclip evaluate: how well edits do what their words say, by which method, and at what price."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.asked import given, made, options
from flows.cli.options import Json
from flows.cli.talk import Voice, verb
from flows.forms.runs import CompareParams, CostsParams, EvaluateParams

if TYPE_CHECKING:
    from flows.compare import Comparison
    from flows.costs import Costs
    from tasks.evaluate.tables import Scores


@verb
@options(
    EvaluateParams,
    CompareParams,
    leave_out=("edits", "methods"),
    names={"images": ("--images", "-n"), "edits_file": ("--edits",)},
)
def evaluate(
    edit: Annotated[
        list[str] | None, typer.Option("--edit", "-e", help="Only this edit, by name; may be repeated.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="global (default) or global-weighted.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            "-c",
            help="Compare methods at matched strength instead: global, mapper, optimize, …; repeat.",
        ),
    ] = None,
    costs: Annotated[
        bool,
        typer.Option("--costs", help="Measure what each method costs here instead (the paper's Table 1)."),
    ] = False,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Score the edits of the embedded avatars, whose truth is known, with a judge that guided nothing.

    Words alone: α is what each picture needs, and shown is the median. With --strengths chosen, α and the number of
    channels are chosen per edit, on other avatars and by another judge. "change" is the largest mean change of any
    attribute that the edit should leave alone.

    With --compare, all methods edit the same images, each as strongly as the first: on avatars as the judge sees it,
    elsewhere (--bundle, --folder, --edits) by CLIP gain. With --costs, their times stand beside the paper's.

    \b
    Examples:
      styleclip evaluate --edit "red hair" --edit glasses
      styleclip evaluate --compare global --compare mapper --compare optimize
      styleclip evaluate --costs
    """
    voice = Voice(as_json)
    if costs:
        _costs(voice, made(CostsParams, asked))
    elif compare or asked["edits_file"]:
        _compare(voice, made(CompareParams, asked, **given({"methods": compare, "edits": edit})))
    else:
        _score(voice, made(EvaluateParams, asked, **given({"methods": method, "edits": edit})))


def _score(voice: Voice, params: EvaluateParams) -> None:
    from flows.cli.running import run_flow

    voice.say(
        f"Score {len(params.edits)} edits on {params.images} held-out avatars; results go to {params.output}"
    )

    scores: Scores = run_flow("flows.evaluate:evaluate", params)
    _show_edits(voice, scores)
    voice.finish({**asdict(scores), "table": [row.to_row() for row in scores.table]})


def _compare(voice: Voice, params: CompareParams) -> None:
    from flows.cli.running import run_flow

    voice.say(f"Compare methods at matched strength on {params.images} images; results go to {params.output}")

    comparison: Comparison = run_flow("flows.compare:compare", params)
    _show_methods(voice, comparison)
    voice.finish(comparison)


def _costs(voice: Voice, params: CostsParams) -> None:
    from flows.cli.running import run_flow

    voice.say(f"Measure what each method costs with bundle '{params.bundle}'; results go to {params.output}")

    costs: Costs = run_flow("flows.costs:costs", params)
    _show_costs(voice, costs)
    voice.finish(costs)


def _show_edits(voice: Voice, scores: Scores) -> None:
    voice.table(
        "Edits by the scoring judge",
        ["edit", "method", "α", "channels", "success", "change", "of", "identity", "CLIP gain", "reached"],
        [
            [
                row.edit,
                row.method,
                f"{row.alpha:.3g}",
                str(row.channels),
                f"{row.success:.0%}",
                f"{row.worst_change:.1%}",
                row.worst,
                f"{row.identity:.2f}",
                f"{row.clip_gain:+.3f}",
                "yes" if row.reached else "no",
            ]
            for row in scores.table
        ],
    )
    voice.say(
        f"Done: {scores.reached} of {scores.edits} edits reach 90 % success at no more than 5 % change."
    )
    voice.say(f"Table:  {scores.output}/evaluation.parquet")
    voice.say(f"Next:   look at the before/after strips in {scores.output}/strips")


def _number(value: float | None, form: str) -> str:
    return "" if value is None or value != value else format(value, form)


def _show_methods(voice: Voice, comparison: Comparison) -> None:
    columns = {
        "reached": ".2f", "success": ".0%", "dependency": ".1%", "identity": ".2f",
        "judge_directional_similarity": ".2f", "ms_per_edit": ".0f",
    }  # fmt: skip
    voice.table(
        "Methods at matched strength",
        ["edit", "method", "match", "score", "success", "others", "identity", "judge", "ms"],
        [
            [row.edit, row.method, "yes" if row.matched else "no"]
            + [_number(getattr(row, name), form) for name, form in columns.items()]
            for row in comparison.table
        ],
    )
    voice.say(f"Table:  {comparison.output}/methods.parquet")
    voice.say(
        f"Next:   look at {comparison.output}/methods.png: reconstructions above, then one row per method"
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 600:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _show_costs(voice: Voice, costs: Costs) -> None:
    voice.table(
        "What the methods cost",
        ["where", "method", "pre-processing", "training", "per image", "depends on input", "space"],
        [
            [row.where, row.method]
            + [_duration(seconds) for seconds in (row.preprocessing_s, row.training_s, row.inference_s)]
            + ["yes" if row.input_dependent else "no", row.latent_space]
            for row in costs.table
        ],
    )
    for row in costs.table:
        if row.estimated_from:
            voice.say(f"Pre-processing of {row.method} is estimated from {row.estimated_from}.")
    voice.say(f"Table:  {costs.output}/costs.parquet")
