"""styleclip train-mappers, and styleclip mappers analyse."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.asked import made, options
from flows.cli.options import Bundle, Device, Json, Targets
from flows.cli.talk import Voice, verb
from flows.forms.runs import TrainMappersParams
from tasks.jobs import MapperAttribute

if TYPE_CHECKING:
    from flows.train_mappers import TrainSummary
    from tasks.mappers.analyse import Analysis


@verb
@options(TrainMappersParams, leave_out=("attributes", "analysis"), names={"steps": ("--steps", "-n")})
def train_mappers(target: Targets = None, as_json: Json = False, **asked: Any) -> None:
    """Train one latent mapper per attribute; an edit with a mapper is then a single pass (paper, section 5).

    The defaults are the published ones and made for 1024² faces on a GPU. A stopped training goes on at its last
    checkpoint.

    \b
    Examples:
      styleclip train-mappers -t "a face with a beard" -o runs/mappers --steps 300 --optimizer adam
      styleclip train-mappers --attributes attributes.yaml -o runs/mappers
    """
    voice = Voice(as_json)
    params = made(
        TrainMappersParams, asked, attributes=[MapperAttribute(target=words) for words in target or []]
    )
    output = params.output
    from flows.cli.running import run_flow

    voice.say(f"Train mappers of bundle '{params.bundle}' for {params.steps} steps; results go to {output}")

    summary: TrainSummary = run_flow("flows.train_mappers:train_mappers", params)
    voice.table(
        "Mappers",
        ["attribute", "steps", "held-out loss", "minutes", "at once"],
        [
            [
                row.attribute,
                str(row.steps),
                "" if row.best_loss is None else f"{row.best_loss:.3f}",
                f"{row.seconds / 60:.1f}",
                str(row.microbatch),
            ]
            for row in summary.table
        ],
    )
    show_analysis(voice, summary.analysis)
    if anew := summary.begun_anew:
        voice.say(f"Begun anew, because another --together had grouped them before: {', '.join(anew)}")
    voice.say(f"Mappers:  {output}/mappers; before and after: {output}/pictures")
    voice.say(f"Next:     styleclip edit FOLDER --method mapper --mapper {summary.table[0].mapper} -o RUN")
    voice.finish(summary)


def show_analysis(voice: Voice, analysis: Analysis) -> None:
    """The table of step similarities, ours above the published ones."""
    voice.table(
        "Cosine similarity between the steps of one mapper",
        ["attribute", "where", "mean", "deviation"],
        [[row.attribute, row.where, f"{row.mean:.2f}", f"{row.deviation:.3f}"] for row in analysis.table],
    )


@verb
def analyse(
    mappers: Annotated[
        list[str] | None, typer.Argument(help="Mapper files, or names of shipped ones; default: all shipped.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the tables and the heat map.")] = (
        "runs/mappers-analysis"
    ),
    images: Annotated[int, typer.Option("--images", "-n", min=2, help="Sampled codes to measure on.")] = 200,
    bundle: Bundle = "avatars",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """How alike a mapper's steps are from image to image, and from attribute to attribute (paper, Table 2).

    \b
    Example:
      styleclip mappers analyse
    """
    voice = Voice(as_json)
    from flows.cli.talk import CallError
    from styleclip.bundles.spec import read_bundle
    from tasks.mappers.analyse import analyse_mappers

    folder = read_bundle(bundle).mappers
    chosen = mappers or (sorted(path.stem for path in folder.glob("*.safetensors")) if folder else [])
    if not chosen:
        raise CallError(f"bundle '{bundle}' ships no mappers: name the files of some")
    voice.say(f"Compare the steps of {len(chosen)} mappers on {images} codes; results go to {output}")
    analysis = analyse_mappers.fn(bundle, device, chosen, output, images)
    show_analysis(voice, analysis)
    voice.say(f"Tables:   {output}/analysis.parquet, {output}/similarity.parquet")
    voice.say(f"Next:     look at {output}/similarity.png")
    voice.finish({"output": output, **asdict(analysis)})
