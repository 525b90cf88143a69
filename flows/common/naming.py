"""What runs and their artifacts are called on Prefect's pages."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.runtime import flow_run

from flows.forms.grid import slug
from storage import uris


def run_name() -> str:
    """Folders, bundle and day of the run that begins: "edit photos → runs/red, avatars, 2026-11-24"."""
    params: Any = flow_run.parameters.get("params")
    places = [getattr(params, name, None) for name in ("images", "run", "output")]
    what = " → ".join(_tail(place) for place in places if isinstance(place, str))
    bundle = getattr(params, "bundle", None)
    day = (flow_run.scheduled_start_time or datetime.now(UTC)).astimezone(UTC).date().isoformat()
    return ", ".join(filter(None, [f"{flow_run.flow_name} {what}", Path(bundle).stem if bundle else "", day]))


def _tail(folder: str) -> str:
    """The last two parts of a path or URI."""
    return "/".join(part for part in folder.rstrip("/").split("/")[-2:] if part)


def artifact_key(what: str, folder: str) -> str:
    """Key of an artifact about a run folder, the same for every attempt at it and for no other folder."""
    place = folder if uris.is_remote(folder) else str(uris.local_path(folder).absolute())
    name = slug(_tail(folder)).replace(".", "-").replace("_", "-")[:40].strip("-")
    return f"{what}-{name}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"
