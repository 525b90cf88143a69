"""styleclip server up, down, status."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.cli.options import Json
from flows.cli.talk import Failed, Voice, verb

PORT = 4200


@verb
def up(
    port: Annotated[int, typer.Option(help="Port of a server that is started here.")] = PORT,
    gpus: Annotated[int, typer.Option(min=1, help="How many tasks may use the device at a time.")] = 1,
    as_json: Json = False,
) -> None:
    """Start a Prefect server unless one is set, and give it all that nights need.

    A work pool, the limit on the device, every deployment of prefect.yaml, and an automation that takes runs without a
    sign of life for crashed and starts them again. Nothing is sent to anybody. Give it again after any change.

    \b
    Example, in the project's folder:
      styleclip server up
      PREFECT_API_URL=http://127.0.0.1:4200/api prefect worker start --pool gpu --limit 1
    """
    from flows.cli.runtime import ServerError, configured_server, wait_for_server

    voice = Voice(as_json)
    configured = configured_server()
    url = configured or f"http://127.0.0.1:{port}/api"
    if not _connect(url):
        if configured:
            raise Failed(f"no Prefect server answers at {url}: start it, or unset PREFECT_API_URL")
        from flows.cli.operating import prefect

        voice.say(f"Start a Prefect server on {url.removesuffix('/api')}")
        prefect("server", "start", "--background", "--port", str(port), PREFECT_UI_API_URL=url)
        try:
            wait_for_server(url)
        except ServerError as error:
            raise Failed(str(error)) from error
    from flows.cli.operating import look, set_up

    set_up(url, gpus)
    site = look()
    voice.say(
        f"Done: {len(site.deployments)} deployments, their schedules paused; {url.removesuffix('/api')}"
    )
    voice.say(f"Next:   PREFECT_API_URL={url} prefect worker start --pool gpu --limit 1")
    voice.say("        then switch schedules on in the UI, or run one: prefect deployment run edit/edit")
    voice.finish({"url": url, "deployments": site.deployments})


@verb
def down(as_json: Json = False) -> None:
    """Stop the server that `server up` has started; runs and schedules are kept in its database."""
    from flows.cli.operating import prefect

    voice = Voice(as_json)
    prefect("server", "stop")
    voice.say(
        "Done: the server is stopped. Runs at work go on and wait for it to come back, for ten minutes."
    )
    voice.finish({"stopped": True})


@verb
def status(
    port: Annotated[int, typer.Option(help="Port of the server, unless one is set.")] = PORT,
    as_json: Json = False,
) -> None:
    """Say whether the server answers, and what it has: workers, deployments, limit, runs at work."""
    from flows.cli.runtime import configured_server

    voice = Voice(as_json)
    url = configured_server() or f"http://127.0.0.1:{port}/api"
    if not _connect(url):
        raise Failed(f"no Prefect server answers at {url}: styleclip server up", {"url": url, "up": False})
    from flows.cli.operating import look

    site = look()
    device = "no limit" if site.limit is None else f"{site.slots} of {site.limit} slots taken"
    rows = {
        "server": f"{url}, Prefect {site.version}",
        "work pool": f"gpu, {site.workers} workers at hand" if site.pool else "none: styleclip server up",
        "device": device,
        "silent runs": "come back" if len(site.automations) == 2 else "stay Running: styleclip server up",
        "deployments": ", ".join(site.deployments) or "none: styleclip server up",
        "runs": ", ".join(f"{count} {name}" for name, count in sorted(site.runs.items())) or "none at work",
    }
    for name, value in rows.items():
        voice.say(f"{name + ':':<13}{value}")
    voice.finish({"url": url, "up": True, **vars(site)})


def _connect(url: str) -> bool:
    """Whether a server answers there; Prefect, not imported yet, will talk to it."""
    from flows.cli.runtime import QUIET, answers

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_API_URL"] = url
    return answers(f"{url}/health")
