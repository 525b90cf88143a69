"""styleclip optimize."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import (
    AlignHow,
    Bundle,
    Device,
    Json,
    LandmarksTable,
    MaxFailed,
    Precision,
    RefineSteps,
    RetryFailed,
    Seed,
    ShardSize,
    check_folder,
    numbers,
)
from flows.cli.talk import CallError, Voice, verb


@verb
def optimize(
    images: Annotated[
        str | None, typer.Argument(help="Folder of PNG, JPEG or WebP images; none with --free.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="Run folder: plan, images, metrics.")] = "",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help='"a face with red hair"; repeat for several edits.'),
    ] = None,
    free: Annotated[
        list[str] | None, typer.Option(help="Draw these words from the mean latent, without a source image.")
    ] = None,
    neutral: Annotated[
        str | None, typer.Option(help='What the images show now; default: the words of the bundle, "a face".')
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the edit and its folder; default: from the words.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="w+ (default) or s: the style channels of the convolutions.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of Adam for each image. Default 300.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Largest step size. Default 0.1.")
    ] = None,
    lambda_l2: Annotated[
        list[str] | None,
        typer.Option("--lambda-l2", help="Pull towards the source; several make a grid. Default 0.008."),
    ] = None,
    lambda_id: Annotated[
        float | None, typer.Option("--lambda-id", help="Weight of the face's identity. Default 0.")
    ] = None,
    torgb: Annotated[bool, typer.Option("--torgb", help="With --space s: move ToRGB channels, too.")] = False,
    patience: Annotated[
        int | None, typer.Option(help="Stop an image when its loss has not fallen for so many steps.")
    ] = None,
    relative: Annotated[
        float | None,
        typer.Option(
            help="Aim at the image's own content moved so far by the words, not at the words alone."
        ),
    ] = None,
    in_sigma: Annotated[
        bool, typer.Option("--in-sigma", help="With --space s: steps in standard deviations of the channels.")
    ] = False,
    clip_noise: Annotated[
        float | None,
        typer.Option(help="Noise on the picture that CLIP sees, so that it is harder to please for nothing."),
    ] = None,
    clip_shift: Annotated[
        float | None,
        typer.Option(
            help="CLIP sees the picture shifted by at most this share of its side, anew at every step."
        ),
    ] = None,
    latent_noise: Annotated[
        float | None, typer.Option(help="Fading noise on the latent code: leads out of dead ends.")
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(help="With --space s: move only so many channels, those that answer to the words."),
    ] = None,
    keep_every: Annotated[
        int | None, typer.Option(help="Keep a picture every so many steps, in OUTPUT/steps.")
    ] = None,
    bundle: Bundle = "avatars",
    save_source: Annotated[bool, typer.Option(help="Also write the sources as the models saw them.")] = False,
    save_reconstruction: Annotated[
        bool, typer.Option(help="Also write the unedited reconstructions.")
    ] = True,
    refine_steps: RefineSteps = 0,
    precision: Precision = "float32",
    align: AlignHow = "none",
    landmarks: LandmarksTable = None,
    shard_size: ShardSize = 32,
    batch: Annotated[int, typer.Option(help="Images on the device at once.")] = 16,
    max_failed_fraction: MaxFailed = 0.1,
    retry_failed: RetryFailed = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Edit every image by optimizing its own latent code: slow, and free of any direction computed before.

    The same as `styleclip edit` with the method optimize; an --edits file there can mix methods. A stopped run goes
    on at its first unfinished shard. Loss curves are in OUTPUT/curves.

    \b
    Example:
      styleclip optimize photos/ -o runs/red -t "a face with red hair" --steps 100 --space s --lr 0.03
    From words alone:
      styleclip optimize --free "a face with red hair" -o runs/free
    """
    if not output:
        raise CallError("say where the results shall go: --output FOLDER")
    given: dict[str, Any] = {
        "neutral": neutral, "name": name, "space": space, "steps": steps, "learning_rate": learning_rate,
        "lambda_l2": numbers(lambda_l2, "--lambda-l2") or None, "lambda_id": lambda_id, "torgb": torgb or None,
        "patience": patience, "relative": relative, "in_sigma": in_sigma or None,
        "clip_noise": clip_noise, "clip_shift": clip_shift, "latent_noise": latent_noise,
        "channels": numbers(channels, "--channels", int) or None, "keep_every": keep_every,
    }  # fmt: skip
    common: dict[str, Any] = {
        "bundle": bundle,
        "device": device,
        "seed": seed,
        "output": output,
        "precision": precision,
    }
    if free:
        if images or target:
            raise CallError("--free draws from words alone: leave out the folder of images and --target")
        _free(free, given, common, Voice(as_json))
        return
    if not images:
        raise CallError('give a folder of images and --target "…", or --free "…" to draw from words alone')
    if not target:
        raise CallError('say what the images shall show: --target "a face with red hair"')
    if name and len(target) > 1:
        raise CallError("--name names one edit, but several --target are given")
    from flows.cli.verbs.edit import report
    from flows.forms.edits import edit_form
    from flows.forms.runs import EditParams

    voice = Voice(as_json)
    unchecked: dict[str, Any] = {"align": align}
    params = EditParams(
        images=images, edits=[edit_form(target=words, method="optimize", **given) for words in target],
        save_source=save_source, save_reconstruction=save_reconstruction, shard_size=shard_size, batch=batch,
        max_failed_fraction=max_failed_fraction, retry_failed=retry_failed, refine_steps=refine_steps,
        landmarks=landmarks, **unchecked, **common,
    )  # fmt: skip
    check_folder(images)
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    words = ", ".join(f'"{each}"' for each in target)
    voice.say(
        f"Optimize the images in {images} with the models of '{bundle}': {words}; results go to {output}"
    )

    def load() -> object:
        from flows.edit import edit as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    report(voice, summary)
    run = summary["run"]
    voice.say(f"Curves:  {run}/curves    python: storage.curves.read_curves('{run}')")
    voice.finish(summary)


FREE_OPTIONS = ("steps", "learning_rate", "patience")


def _free(targets: list[str], given: dict[str, Any], common: dict[str, Any], voice: Voice) -> None:
    """Pictures from words alone."""
    from flows.forms.runs import FreeParams

    chosen = {option: value for option, value in given.items() if value is not None}
    if useless := [option for option in chosen if option not in FREE_OPTIONS]:
        option = useless[0].replace("_", "-")
        raise CallError(f"--{option} means nothing with --free: there is no source image")
    params = FreeParams(targets=targets, **chosen, **common)
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    words = ", ".join(f'"{each}"' for each in targets)
    voice.say(f"Draw {words} from the mean latent of '{params.bundle}'; results go to {params.output}")

    def load() -> object:
        from flows.free_generation import free_generation as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    for picture in summary["images"]:
        voice.say(f"Image:   {picture}")
    voice.say(f"Codes:   {summary['latents']}")
    voice.finish(summary)
