from __future__ import annotations

from flows.cli.talk import verb


@verb
def demo() -> None:
    """x"""
