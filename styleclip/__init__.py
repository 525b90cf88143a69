"""StyleCLIP in plain torch: networks, checkpoints, directions, metrics. Knows no Prefect and no store."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleclip.bundles.load import Bundle, load_bundle
    from styleclip.bundles.spec import read_bundle

__all__ = ["Bundle", "load_bundle", "read_bundle"]

_HOME = {
    "Bundle": "styleclip.bundles.load",
    "load_bundle": "styleclip.bundles.load",
    "read_bundle": "styleclip.bundles.spec",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and open_clip take ten seconds, and an error class or a `--help` needs neither.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'styleclip' has no attribute '{name}'")
