"""styleclip train-mappers, and styleclip mappers analyse."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import Bundle, Device, Json, Seed
from flows.cli.talk import Voice, verb


@verb
def train_mappers(
    output: Annotated[str, typer.Option("--output", "-o", help="Run folder to make or to continue.")],
    attributes: Annotated[
        str | None, typer.Option("--attributes", "-a", help="YAML file of attributes with their settings.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="An attribute in words; may be repeated.")
    ] = None,
    bundle: Bundle = "avatars",
    steps: Annotated[int, typer.Option("--steps", "-n", help="Steps of training.")] = 50_000,
    batch: Annotated[int, typer.Option(help="Latent codes per step.")] = 2,
    together: Annotated[int, typer.Option(help="Attributes trained together on the device.")] = 8,
    optimizer: Annotated[str, typer.Option(help="ranger (published) or adam.")] = "ranger",
    learning_rate: Annotated[float, typer.Option(help="Step size.")] = 0.5,
    decay: Annotated[
        bool, typer.Option("--decay", help="Let the step size fall to 0 along a cosine.")
    ] = False,
    latents: Annotated[
        str | None, typer.Option(help="Latents store of inverted images to train on; default: sampled codes.")
    ] = None,
    psi: Annotated[float, typer.Option(help="Truncation ψ of sampled codes.")] = 1.0,
    microbatch: Annotated[int, typer.Option(help="Pictures on the device at once.")] = 16,
    precision: Annotated[str, typer.Option(help="float32, tf32, or bfloat16 for the generator.")] = "float32",
    validation: Annotated[int, typer.Option(help="Held-out codes that the best state is chosen on.")] = 32,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train one latent mapper per attribute; an edit with a mapper is then a single pass (paper, section 5).

    The defaults are the published ones and made for 1024² faces on a GPU. A stopped training goes on at its last
    checkpoint.

    \b
    Examples:
      styleclip train-mappers -t "a face with a beard" -o runs/mappers --steps 300 --optimizer adam
      styleclip train-mappers --attributes attributes.yaml -o runs/mappers
    """
    from flows.forms.mappers import MapperSpec
    from flows.forms.runs import TrainMappersParams

    voice = Voice(as_json)
    unchecked: dict[str, Any] = {"optimizer": optimizer, "precision": precision}
    params = TrainMappersParams(
        output=output, attributes=[MapperSpec(target=words) for words in target or []], attributes_file=attributes,
        bundle=bundle, steps=steps, batch=batch, together=together, learning_rate=learning_rate, decay=decay,
        latents=latents, truncation_psi=psi, microbatch=microbatch, validation=validation,
        checkpoint_every=checkpoint_every, seed=seed, device=device, **unchecked,
    )  # fmt: skip
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice.say(f"Train mappers of bundle '{bundle}' for {steps} steps; results go to {output}")

    def load() -> object:
        from flows.train_mappers import train_mappers as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    voice.table(
        "Mappers",
        ["attribute", "steps", "held-out loss", "minutes", "at once"],
        [
            [
                row["attribute"],
                str(row["steps"]),
                "" if row["best_loss"] is None else f"{row['best_loss']:.3f}",
                f"{row['seconds'] / 60:.1f}",
                str(row["microbatch"]),
            ]
            for row in summary["table"]
        ],
    )
    show_analysis(voice, summary["analysis"])
    first = summary["table"][0]["mapper"]
    if anew := summary["begun_anew"]:
        voice.say(f"Begun anew, because another --together had grouped them before: {', '.join(anew)}")
    voice.say(f"Mappers:  {output}/mappers; before and after: {output}/pictures")
    voice.say(f"Next:     styleclip edit FOLDER --method mapper --mapper {first} -o RUN")
    voice.finish(summary)


def show_analysis(voice: Voice, analysis: dict[str, Any]) -> None:
    """The table of step similarities, ours above the published ones."""
    voice.table(
        "Cosine similarity between the steps of one mapper",
        ["attribute", "where", "mean", "deviation"],
        [
            [row["attribute"], row["where"], f"{row['mean']:.2f}", f"{row['deviation']:.3f}"]
            for row in analysis["table"]
        ],
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
    voice.finish({"output": output, **analysis})
