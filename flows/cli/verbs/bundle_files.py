"""styleclip bundle init, export-generator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Device, Json
from flows.cli.talk import Failed, Voice, verb
from flows.cli.verbs.bundles import not_ready, report

if TYPE_CHECKING:
    from styleclip.bundles.spec import BundleSpec

NEUTRAL = "a face"


@verb
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the bundle will be called.")],
    generator: Annotated[
        Path,
        typer.Option("--generator", "-g", help="StyleGAN2: NVlabs' .pkl, rosinality's .pt, our safetensors."),
    ],
    clip: Annotated[
        Path | None, typer.Option(help="CLIP checkpoint; default: OpenAI's ViT-B/32, where `ffhq` keeps it.")
    ] = None,
    clip_model: Annotated[
        str | None,
        typer.Option(help="open_clip's name for the CLIP; of a .pt file ViT-B-32-quickgelu unless given."),
    ] = None,
    clip_pretrained: Annotated[
        str | None, typer.Option(help="open_clip's tag of weights, in the place of a file.")
    ] = None,
    clip_config: Annotated[
        Path | None, typer.Option(help="open_clip_config.json of a CLIP that open_clip has no name for.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="e4e's .pt; without one no photograph is edited.")
    ] = None,
    identity: Annotated[Path | None, typer.Option(help="ArcFace IR-SE50 .pth; faces only.")] = None,
    detector: Annotated[Path | None, typer.Option(help="YuNet .onnx, for --align detector.")] = None,
    neutral: Annotated[
        str | None, typer.Option(help=f"What every picture shows; asked for on a terminal, else '{NEUTRAL}'.")
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option(help="styleclip (79), imagenet (80), or a text with {} inside; texts may be repeated."),
    ] = None,
    number: Annotated[
        int | None, typer.Option("--class", help="Class that a class-conditional generator is held at.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="TOML file or folder to write; default: your own folder of bundles."
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a bundle of model files at hand, check it, and say what is missing for which method.

    Nothing is written when the files do not hold what they should or do not belong together.

    \b
    Example:
      styleclip bundle init my-faces --generator ffhq.pkl --encoder e4e_ffhq_encode.pt --identity model_ir_se50.pth
    """
    from styleclip.bundles.lock import forget_lock
    from styleclip.bundles.spec import read_bundle
    from styleclip.bundles.write import (
        PUBLISHED_CLIP,
        NewBundle,
        look_at_generator,
        place_of,
        write_new_bundle,
    )
    from styleclip.bundles.written import STYLECLIP
    from styleclip.checkpoints.torch_files import is_torch_file
    from styleclip.errors import BundleError

    voice = Voice(as_json)
    path = place_of(name, output)
    given = {
        "generator": generator, "clip": clip, "clip_config": clip_config, "encoder": encoder,
        "identity": identity, "detector": detector,
    }  # fmt: skip
    files = {role: file for role, file in given.items() if file is not None}
    for role, file in files.items():
        if not file.is_file():
            raise BundleError(f"{file} ({role}): no such file")
    if neutral is None:
        ask = sys.stdin.isatty() and not as_json
        neutral = typer.prompt("What does every picture show?", default=NEUTRAL) if ask else NEUTRAL
    if clip is not None and clip_model is None and clip_config is None and is_torch_file(clip):
        clip_model = PUBLISHED_CLIP["model"]
    found = look_at_generator(generator, number)
    voice.say(f"Generator: {found.words}")
    size = found.config.resolution
    new = NewBundle(
        description=f"{neutral}, {size}×{size}", neutral=neutral, templates=templates or [STYLECLIP], files=files,
        clip_model=clip_model, clip_pretrained=clip_pretrained, generator_class=number,
    )  # fmt: skip
    write_new_bundle(path, new)
    spec = read_bundle(path)
    # whatever an earlier bundle of this name was held to
    forget_lock(spec)
    try:
        summary = report(voice, spec, device)
    except BaseException:  # one that is broken off leaves nothing either: the same command may be given again
        path.unlink()
        raise
    voice.say(f"Bundle: {path}; neutral words '{neutral}', {len(spec.templates)} templates")
    called = name if output is None else str(path)
    for line in _what_next(spec, called):
        voice.say(line)
    summary |= {"path": str(path), "neutral": neutral, "templates": len(spec.templates)}
    if not summary["ready"]:
        again = f"put them there, then: styleclip bundle check {called}"
        raise Failed(f"{not_ready(spec, summary)}; {again}", summary)
    voice.finish(summary)


def _what_next(spec: BundleSpec, called: str) -> list[str]:
    """What each method still needs, and with which command it is made."""
    codes = "photographs are inverted by the encoder" if spec.encoder else (
        "no encoder: start from codes (styleclip latents import), or draw from words (styleclip optimize --free)"
    )  # fmt: skip
    return [
        f"Pictures: {codes}",
        f"optimize: needs nothing more    styleclip optimize FOLDER --bundle {called} -t '…' -o RUN",
        f"global:   needs directions, once    styleclip precompute --bundle {called} -o FILE.zarr",
        f"          then    styleclip edit FOLDER --bundle {called} --directions FILE.zarr -t '…' -o RUN",
        f"mapper:   needs a training per attribute    styleclip train-mappers --bundle {called} -t '…' -o RUN",
    ]


@verb
def export_generator(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a bundle, or path of its TOML file.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .pt file to write.")],
    as_json: Json = False,
) -> None:
    """Write a bundle's generator as rosinality's stylegan2-pytorch and StyleCLIP's published code read it.

    The file holds g_ema and latent_avg, float32.

    \b
    Example:
      styleclip bundle export-generator my-faces stylegan2-my-faces.pt
    """
    from styleclip.bundles.load import load_bundle
    from styleclip.checkpoints.rosinality_export import save_rosinality

    voice = Voice(as_json)
    generator = load_bundle(name, device="cpu").generator
    save_rosinality(file, generator)
    config = generator.config
    voice.say(f"Done: {file}, {config.resolution}×{config.resolution}, w of {config.w_dim}.")
    if config.conv_clamp is not None:
        voice.say(
            f"Note: layers of this generator are clamped at ±{config.conv_clamp:g}, which this layout does not know."
        )
    voice.finish({"output": str(file), "resolution": config.resolution, "w_dim": config.w_dim})
