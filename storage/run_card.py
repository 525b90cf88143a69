"""What a run folder was made for, where there is no plan of images: written once, compared ever after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage import durable, uris
from storage.differences import another_run, compare
from storage.errors import StoreCorrupt

CARD_VERSION = 1


def keep_card(run_dir: str, what: str, values: Mapping[str, Any]) -> bool:
    """Write RUN/WHAT.json, or check that it says the same; True when the run is continued.

    Raises PlanMismatch, naming what differs, when the folder belongs to another run, and StoreCorrupt when the file
    cannot be read.
    """
    path = uris.join(run_dir, f"{what}.json")
    body = {"version": CARD_VERSION, **values}
    if uris.write_new(path, json.dumps(body, indent=1, sort_keys=True).encode()):
        return False
    try:
        earlier = json.loads(uris.read_bytes(path))
    except ValueError as error:
        raise StoreCorrupt(f"{path} cannot be read ({error}): use another output folder") from error
    # through JSON and back, so that tuples and lists are the same thing
    if differences := compare(earlier, json.loads(json.dumps(body))):
        raise another_run(run_dir, differences)
    if not uris.is_remote(run_dir):
        durable.sweep(uris.local_path(run_dir))
    return True
