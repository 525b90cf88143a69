"""styleclip demo: the whole program once, on pictures that no model has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Device, Json
from flows.cli.talk import Voice, verb

if TYPE_CHECKING:
    from flows.demo import DemoSummary

SHOWN = ("red hair", "blond hair", "glasses", "hat", "beard", "long hair", "green background")
"""Edits of the demo that use the strengths shipped with the weights."""
MAPPED = ("smile", "beard")
"""Edits of the demo by mappers that ship with the weights."""
OPTIMIZED, OPTIMIZATION_STEPS = "beard", 40
"""The edit that every image searches its own code for; fewer steps than it deserves, to keep the demo short."""
GRID_TARGET, GRID_ALPHAS, GRID_CHANNELS = "blue hair", [2.0, 4.0, 8.0], [4, 16]


@verb
def demo(
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for everything.")] = "runs/demo",
    images: Annotated[int, typer.Option("--images", "-n", help="Avatars to draw and edit.")] = 48,
    precompute_images: Annotated[
        int, typer.Option(help="Images per channel of the small precompute; 100 ship.")
    ] = 3,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw a folder of avatars that no model was trained on, edit it by words, and recompute some of the directions.

    Takes a few minutes on two CPU cores and needs no network.
    """
    from flows.cli.runtime import Runtime

    voice = Voice(as_json)
    # Before anything that imports Prefect: its settings have to be there by then.
    runtime = Runtime()

    from avatars.shipped import shipped_optimization
    from avatars.world.captions import prompt
    from avatars.world.samples import write_images
    from flows.cli.running import run_flow
    from flows.cli.verbs.edit import report
    from flows.demo import DemoParams
    from flows.forms.edits import edit_form

    folder = f"{output}/images"
    voice.say(f"1  Draw {images} avatars that no model was trained on, as PNG files in {folder}")
    write_images(folder, images, seed=3)
    edits = [edit_form(name=name, target=prompt(name)) for name in SHOWN]
    edits.append(
        edit_form(name=GRID_TARGET, target=prompt(GRID_TARGET), alpha=GRID_ALPHAS, channels=GRID_CHANNELS)
    )
    edits += [edit_form(name=f"{name}-mapper", method="mapper", mapper=name) for name in MAPPED]
    settings = shipped_optimization(OPTIMIZED) | {"steps": OPTIMIZATION_STEPS}
    edits.append(
        edit_form(name=f"{OPTIMIZED}-optimized", method="optimize", target=prompt(OPTIMIZED), **settings)
    )
    voice.say(f"2  Invert and edit them: {', '.join(SHOWN)}, and an α × channels grid of {GRID_TARGET}")
    voice.say(f"   by mappers: {', '.join(MAPPED)}; by optimization of every image: {OPTIMIZED}")
    voice.say(
        f"3  Recompute the channel directions from {precompute_images} images per channel and compare them"
    )
    params = DemoParams(
        images=folder, output=output, edits=edits, precompute_images=precompute_images, device=device
    )

    summary: DemoSummary = run_flow("flows.demo:demo", params, runtime)
    report(voice, summary.edit)
    agreement = summary.agreement
    voice.say(
        f"Directions from {precompute_images} images per channel against the shipped ones: median cosine "
        f"{agreement.median_cosine:.3f} over {agreement.channels} channels, "
        f"{agreement.median_cosine_strong:.3f} over the tenth that moves pictures most."
    )
    voice.say(f"Next:    open {output}/run/report.html; then edit a folder of your own with `styleclip edit`")
    voice.finish(summary)
