"""styleclip evaluate: how well the embedded world's edits do what their words say."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import Device, Json
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
    strengths: Annotated[
        str | None, typer.Option(help="JSON file of strengths to use, as an earlier evaluation wrote it.")
    ] = None,
    directions: Annotated[
        str | None, typer.Option(help="Directions store; default: the one that ships.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score the edits of the embedded avatars, whose truth is known, with a judge that guided nothing.

    α and the number of channels are chosen on other avatars, by another judge. "change" is the largest mean change of
    any attribute that the edit should leave alone.

    \b
    Example:
      styleclip evaluate --edit "red hair" --edit glasses
    """
    from flows.parameters import EvaluateParams

    voice = Voice(as_json)
    chosen: Any = {"edits": edit, "methods": method}
    params = EvaluateParams(
        output=output, images=images, choose_images=choose_images, directions=directions, strengths=strengths,
        device=device,
        **{key: value for key, value in chosen.items() if value},
    )  # fmt: skip
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice.say(f"Score {len(params.edits)} edits on {images} held-out avatars; results go to {output}")

    def load() -> object:
        from flows.evaluate import evaluate as flow

        return flow

    summary = run_flow(Runtime(), load, params)
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
    voice.finish(summary)
