"""styleclip precompute."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.options import Bundle, Device, Json, Seed
from flows.cli.talk import CallError, Voice, verb


@verb
def precompute(
    output: Annotated[
        str, typer.Option("--output", "-o", help="The directions store to make or to continue.")
    ],
    bundle: Bundle = "avatars",
    images: Annotated[int, typer.Option("--images", "-n", help="Images per channel.")] = 100,
    statistics_samples: Annotated[
        int, typer.Option(help="Samples for each channel's mean and deviation.")
    ] = 10_000,
    step: Annotated[
        float | None, typer.Option(help="Move channels by ± this many σ; default: the bundle's, 5.")
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="sample (the paper) or mean (set the channel to its mean first).")
    ] = "sample",
    psi: Annotated[
        float | None, typer.Option(help="Truncation ψ of the samples; default: the bundle's, 0.7.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="FIRST:LAST, only these channels (LAST excluded); the others get no direction."),
    ] = None,
    block: Annotated[int, typer.Option(help="Channels per task and per shard of the store.")] = 256,
    batch: Annotated[int, typer.Option(help="Pictures in one pass; halved when memory runs out.")] = 64,
    precision: Annotated[
        str, typer.Option(help="float32, tf32, or bfloat16 for the generator (CLIP stays in float32).")
    ] = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compute the CLIP direction of every style channel, once per bundle.

    An edit needs these directions; the embedded avatars ship theirs. A stopped run goes on at its first unfinished
    block and ends with the same numbers.

    \b
    Example:
      styleclip precompute --bundle my-faces.toml --output runs/my-faces.zarr
    """
    from flows.forms.runs import PrecomputeParams

    voice = Voice(as_json)
    unchecked: dict[str, Any] = {"baseline": baseline, "precision": precision}
    first, last = _slice(channels)
    params = PrecomputeParams(
        first=first, last=last,
        bundle=bundle, output=output, images=images, statistics_samples=statistics_samples, step=step,
        truncation_psi=psi, **unchecked, block=block, batch=batch, seed=seed, device=device,
    )  # fmt: skip
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice.say(f"Directions of every style channel of '{bundle}': {images} images per channel, into {output}")

    def load() -> object:
        from flows.precompute import precompute as flow

        return flow

    summary = run_flow(Runtime(), load, params)
    voice.say(
        f"Done: {summary['channels']} channels in {summary['blocks']} blocks "
        f"({summary['blocks_done_before']} were there before); median reliability {summary['reliability']:.2f}."
    )
    if summary["batch"] < batch:
        voice.say(
            f"Memory: it ran out at --batch {batch}; the rest was done with --batch {summary['batch']}."
        )
    voice.say(f"Store:  {output}")
    voice.say(
        f'Next:   styleclip directions show --bundle {bundle} --directions {output} --target "a smiling face"'
    )
    voice.finish(summary)


def _slice(text: str | None) -> tuple[int, int | None]:
    """ "64:128" → (64, 128), ":128" → (0, 128), "64:" → (64, None). Raises CallError for anything else."""
    if text is None:
        return 0, None
    first, colon, last = text.partition(":")
    if not colon or not all(part.strip().isdigit() or not part.strip() for part in (first, last)):
        raise CallError(f"--channels takes FIRST:LAST, for example 0:256, not '{text}'")
    bounds = int(first or 0), int(last) if last.strip() else None
    if bounds[1] is not None and bounds[1] <= bounds[0]:
        raise CallError(f"--channels {text} leaves no channel")
    return bounds
