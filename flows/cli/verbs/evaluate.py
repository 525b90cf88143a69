"""styleclip evaluate: how well edits do what their words say, by which method, and at what price."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import Bundle, Device, Json
from flows.cli.talk import Voice, verb


@verb
def evaluate(
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the table and the pictures.")] = (
        "runs/evaluate"
    ),
    images: Annotated[int, typer.Option("--images", "-n", help="Held-out avatars that are scored.")] = 240,
    choose_images: Annotated[int, typer.Option(help="Other avatars that strengths are chosen on.")] = 48,
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
    edits: Annotated[
        str | None, typer.Option(help="Edits file for --compare or --costs: same target, different methods.")
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(help="Images to compare on, for bundles of your own; default: fresh avatars."),
    ] = None,
    costs: Annotated[
        bool,
        typer.Option("--costs", help="Measure what each method costs here instead (the paper's Table 1)."),
    ] = False,
    strengths: Annotated[
        str | None, typer.Option(help="JSON file of strengths to use, as an earlier evaluation wrote it.")
    ] = None,
    directions: Annotated[
        str | None, typer.Option(help="Directions store; default: the one that ships.")
    ] = None,
    bundle: Bundle = "avatars",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score the edits of the embedded avatars, whose truth is known, with a judge that guided nothing.

    α and the number of channels are chosen on other avatars, by another judge. "change" is the largest mean change of
    any attribute that the edit should leave alone.

    With --compare, all methods edit the same images, each as strongly as the first: on avatars as the judge sees it,
    elsewhere (--bundle, --folder, --edits) by CLIP gain. With --costs, their times stand beside the paper's.

    \b
    Examples:
      styleclip evaluate --edit "red hair" --edit glasses
      styleclip evaluate --compare global --compare mapper --compare optimize
      styleclip evaluate --costs
    """
    from flows.forms.runs import EvaluateParams

    voice = Voice(as_json)
    chosen: Any = {"compare" if compare else "methods": compare or method}
    chosen["compare_edits" if compare else "edits"] = edit
    params = EvaluateParams(
        output=output, images=images, choose_images=choose_images, directions=directions, strengths=strengths,
        bundle=bundle, device=device, edits_file=edits, folder=folder, costs=costs,
        **{key: value for key, value in chosen.items() if value},
    )  # fmt: skip
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    if costs:
        voice.say(f"Measure what each method costs with bundle '{bundle}'; results go to {output}")
    elif params.compare or params.edits_file:
        voice.say(f"Compare methods at matched strength on {images} images; results go to {output}")
    else:
        voice.say(f"Score {len(params.edits)} edits on {images} held-out avatars; results go to {output}")

    def load() -> object:
        from flows.evaluate import evaluate as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    if costs:
        _show_costs(voice, output, summary)
    elif params.compare or params.edits_file:
        _show_methods(voice, output, summary)
    else:
        _show_edits(voice, output, summary)
    voice.finish(summary)


def _show_edits(voice: Voice, output: str, summary: Any) -> None:
    voice.table(
        "Edits by the scoring judge",
        ["edit", "method", "α", "channels", "success", "change", "of", "identity", "CLIP gain", "reached"],
        [
            [
                row["edit"],
                row["method"],
                f"{row['alpha']:g}",
                str(row["channels"]),
                f"{row['success']:.0%}",
                f"{row['worst_change']:.1%}",
                row["worst"],
                f"{row['identity']:.2f}",
                f"{row['clip_gain']:+.3f}",
                "yes" if row["reached"] else "no",
            ]
            for row in summary["table"]
        ],
    )
    voice.say(
        f"Done: {summary['reached']} of {summary['edits']} edits reach 90 % success at no more than 5 % change."
    )
    voice.say(f"Table:  {output}/evaluation.parquet")
    voice.say(f"Next:   look at the before/after strips in {output}/strips")


def _number(value: float | None, form: str) -> str:
    return "" if value is None or value != value else format(value, form)


def _show_methods(voice: Voice, output: str, summary: Any) -> None:
    columns = {
        "reached": ".2f", "success": ".0%", "dependency": ".1%", "identity": ".2f",
        "judge_directional_similarity": ".2f", "ms_per_edit": ".0f",
    }  # fmt: skip
    voice.table(
        "Methods at matched strength",
        [
            "edit",
            "method",
            "match",
            "score",
            "success",
            "others",
            "identity",
            "judge",
            "ms",
        ],
        [
            [row["edit"], row["method"], "yes" if row["matched"] else "no"]
            + [_number(row[name], form) for name, form in columns.items()]
            for row in summary["table"]
        ],
    )
    voice.say(f"Table:  {output}/methods.parquet")
    voice.say(f"Next:   look at {output}/methods.png: reconstructions above, then one row per method")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return (
        f"{seconds:.1f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _show_costs(voice: Voice, output: str, summary: Any) -> None:
    voice.table(
        "What the methods cost",
        ["where", "method", "pre-processing", "training", "per image", "depends on input", "space"],
        [
            [row["where"], row["method"]]
            + [_duration(row[name]) for name in ("preprocessing_s", "training_s", "inference_s")]
            + ["yes" if row["input_dependent"] else "no", row["latent_space"]]
            for row in summary["table"]
        ],
    )
    for row in summary["table"]:
        if row["estimated_from"]:
            voice.say(f"Pre-processing of {row['method']} is estimated from {row['estimated_from']}.")
    voice.say(f"Table:  {output}/costs.parquet")
