"""styleclip verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Json, check_folder
from flows.cli.talk import Failed, Voice, verb

if TYPE_CHECKING:
    from flows.verify import VerifySummary

SHOWN = 20


@verb
def verify(
    run: Annotated[str, typer.Argument(help="Output folder of a run, or a directions or latents store.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Do again what is damaged, and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that everything a run has written is there and as it was written.

    Every planned row, every picture by its sha256, codes, curves and directions by their checksums. Ends with 1 when
    something is damaged, and names each file. Repair does the shards again that the damaged files belong to.

    \b
    Examples:
      styleclip verify runs/red
      styleclip verify runs/red --repair
    """
    from flows.cli.running import run_flow
    from flows.cli.runtime import Runtime

    voice = Voice(as_json)
    check_folder(run, "results")
    runtime = Runtime()
    from flows.verify import VerifyParams

    voice.say(f"Verify {run}" + (", and do again what is damaged" if repair else ""))
    try:
        summary: VerifySummary = run_flow(
            "flows.verify:verify", VerifyParams(run=run, repair=repair), runtime
        )
    except Failed as error:
        damaged = error.summary.get("damaged", [])
        for damage in damaged[:SHOWN]:
            voice.say(f"{damage['file']}: {damage['what']}")
        if len(damaged) > SHOWN:
            voice.say(f"… and {len(damaged) - SHOWN} more: --json names all")
        raise
    for file in summary.repaired[:SHOWN]:
        voice.say(f"made again: {file}")
    voice.say(f"Sound: {summary.rows} rows and {summary.pictures} pictures of {run}.")
    voice.finish(summary)
