"""Options that are no field of a run form, and what can be checked before anything slow is loaded."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.cli.talk import CallError

Bundle = Annotated[
    str, typer.Option("--bundle", "-b", help="Models: a name from `styleclip bundle list`, or a TOML file.")
]
Device = Annotated[str, typer.Option(help="auto (CUDA when there is one), cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="One machine-readable line on stdout at the end.")]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help='"a face with red hair"; repeat for several.'),
]


def check_folder(path: str, what: str = "images") -> None:
    """Refuse a local folder that is not there; remote ones are looked at when the run lists them."""
    if "://" in path:
        return
    if not os.path.exists(path):
        raise CallError(f"{path}: no such folder of {what}")
    if not os.path.isdir(path):
        raise CallError(f"{path} is a file; give the folder that the {what} are in")
