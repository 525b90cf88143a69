"""styleclip mappers export."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Device, Json
from flows.cli.talk import Voice, verb


@verb
def export(
    mapper: Annotated[
        str,
        typer.Argument(metavar="MAPPER", help="A mapper file, or with --bundle the name of a shipped one."),
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The .pt file to write.")],
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle", "-b", help="Put its generator into the file: StyleCLIP's code wants it there."
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a mapper as a checkpoint of StyleCLIP's published code.

    \b
    Example:
      styleclip mappers export runs/mappers/mappers/beard.safetensors beard.pt --bundle my-faces
    """
    from tasks.exchange.mappers import export_mapper

    voice = Voice(as_json)
    found = export_mapper(mapper, file, bundle, device)
    voice.say(f"Done: {found['mapper']} as {file}.")
    if not found["decoder"]:
        voice.say(
            "Note: without the generator, which StyleCLIP's inference.py wants inside: add it with --bundle."
        )
    voice.finish(found)
