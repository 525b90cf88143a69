"""StyleCLIP in plain torch: networks, checkpoints, directions, metrics. Knows no Prefect and no store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleclip.bundle import Bundle, load_bundle, read_bundle

__all__ = ["Bundle", "load_bundle", "read_bundle"]


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and open_clip take ten seconds, and an error class or a `--help` needs neither.
    if name in __all__:
        from styleclip import bundle

        return getattr(bundle, name)
    raise AttributeError(f"module 'styleclip' has no attribute '{name}'")
