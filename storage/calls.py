"""What a run was asked for, kept beside its plan, so that a part of it can be done again without the caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage import uris
from storage.errors import StoreCorrupt

_PLACES = ("images", "output", "directions", "landmarks")
_NAME = "call.json"


def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same call, good from every working directory: local places are absolute, and a bundle's file."""
    found = dict(values)
    for name in (*_PLACES, "bundle"):
        value = found.get(name)
        local = isinstance(value, str) and not uris.is_remote(value)
        if local and (name != "bundle" or str(value).endswith(".toml")):
            found[name] = str(uris.local_path(str(value)).absolute())
    return found


def keep_call(run_dir: str, flow: str, values: Mapping[str, Any]) -> None:
    """Write what the newest attempt at a run was asked for (device and batch may differ from the first's)."""
    body = {"flow": flow, "call": absolute(values)}
    path, data = uris.join(run_dir, _NAME), json.dumps(body, indent=1, sort_keys=True).encode()
    # a finished run may be on a disk that is read-only by now
    if not uris.exists(path) or uris.read_bytes(path) != data:
        uris.write_bytes(path, data)


def read_call(run_dir: str, flow: str) -> dict[str, Any]:
    """The call of a run, with `run_dir` as its output, wherever the folder was moved.

    Raises StoreCorrupt when it is not there (runs of older versions) or cannot be read.
    """
    path = uris.join(run_dir, _NAME)
    again = "run the same command again, which writes it anew"
    try:
        body = json.loads(uris.read_bytes(path))
        if body["flow"] != flow:
            raise ValueError(f"it is of the flow {body['flow']}")
        return {**body["call"], "output": run_dir}
    except FileNotFoundError as error:
        raise StoreCorrupt(f"{path} is not there, so nothing says how the run was made: {again}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"{path} cannot be read ({error}): {again}") from error
