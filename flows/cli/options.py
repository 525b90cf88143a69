"""Options that several verbs share, and what can be checked before anything slow is loaded."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.cli.talk import CallError

Bundle = Annotated[
    str, typer.Option("--bundle", "-b", help="Models: a name from `styleclip bundle list`, or a TOML file.")
]
Device = Annotated[str, typer.Option(help="auto (CUDA when there is one), cpu, cuda or cuda:N.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="One machine-readable line on stdout at the end.")]
ShardSize = Annotated[int, typer.Option(help="Images per task and per commit.")]
RefineSteps = Annotated[
    int, typer.Option(help="Steps that bring each code nearer to its image; 0: the encoder's own code.")
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, tf32 (NVIDIA A100 and later: faster, rounder) or bfloat16 for the generator."
    ),
]
AlignHow = Annotated[
    str,
    typer.Option(
        "--align",
        help="none (images are aligned already), landmarks (cut the faces out), or detector (find them first).",
    ),
]
LandmarksTable = Annotated[
    str | None, typer.Option(help="Table of landmarks (.json, .csv, .parquet); default: those in the folder.")
]
MaxFailed = Annotated[float, typer.Option(help="Fail the run when a larger share (0 … 1) of it has failed.")]

RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Do shards with failed rows again, after their files were mended."),
]


def numbers(text: list[str] | None, option: str, kind: type[float] = float) -> list[float]:
    """`--alpha 2,4 --alpha 6` → [2, 4, 6]; `kind` may be int. Raises CallError for what is no number."""
    try:
        return [kind(part) for entry in text or [] for part in entry.split(",") if part.strip()]
    except ValueError as error:
        wanted = "whole numbers" if kind is int else "numbers"
        raise CallError(f"{option} takes {wanted}, one or several with commas between: {error}") from error


def check_folder(path: str, what: str = "images") -> None:
    """Refuse a local folder that is not there; remote ones are looked at when the run lists them."""
    if "://" in path:
        return
    if not os.path.exists(path):
        raise CallError(f"{path}: no such folder of {what}")
    if not os.path.isdir(path):
        raise CallError(f"{path} is a file; give the folder that the {what} are in")
