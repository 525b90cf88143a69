"""styleclip workers."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.talk import CallError, Voice, verb


@verb
def start(
    address: Annotated[str, typer.Option(help="The Dask scheduler, for example tcp://node1:8786.")],
    gpus: Annotated[
        str, typer.Option(help="all: one worker per GPU; none: CPU workers; or numbers of GPUs: 0,1,2.")
    ] = "all",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="How many workers, in turn on the GPUs; default: one per GPU, or per core."),
    ] = None,
) -> None:
    """Start workers on this machine for the runs of a Dask scheduler, and start them again when they end.

    One worker per device, each with its models. Runs use them with --runner dask --address. Ctrl-C ends them all.

    \b
    Example:
      dask scheduler --port 8786
      styleclip workers start --address tcp://node1:8786 --gpus all
      styleclip edit photos/ -o runs/red -t "a face with red hair" --runner dask --address tcp://node1:8786
    """
    if "://" not in address:
        raise CallError(f"'{address}' is no address of a Dask scheduler: write tcp://HOST:PORT")
    from flows.common.workers import supervise
    from tasks.process.devices import chosen_gpus, environments, usual_workers

    found = chosen_gpus(gpus)
    each = environments(workers or usual_workers(found), found)
    voice = Voice(as_json=False)
    on = f"GPUs {', '.join(found)}" if found else "the CPU"
    voice.say(f"{len(each)} workers on {on} for the scheduler at {address}; Ctrl-C ends them")
    supervise(address, each, voice.say)
