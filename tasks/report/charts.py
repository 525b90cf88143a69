"""Small drawings as SVG text, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 180, 48


def histogram(counts: Sequence[int], label: str) -> str:
    """A distribution as one filled outline; `label` is read to those who cannot see it."""
    top = max([*counts, 1])
    step = WIDTH / len(counts)
    path = f"M0 {HEIGHT}"
    for place, count in enumerate(counts):
        y = HEIGHT - (HEIGHT - 2) * count / top
        path += f"L{place * step:.4g} {y:.3g}L{(place + 1) * step:.4g} {y:.3g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" class="histogram">'
        f'<path d="{path}L{WIDTH} {HEIGHT}Z"/></svg>'
    )


def line(values: Sequence[float], label: str) -> str:
    """A course over time as a line from 0 up."""
    top, last = max([*values, 1e-9]), max(len(values) - 1, 1)
    points = " ".join(
        f"{600 * place / last:.4g},{80 - 76 * value / top:.3g}" for place, value in enumerate(values)
    )
    return (
        f'<svg viewBox="0 0 600 82" role="img" aria-label="{label}" class="line">'
        f'<polyline points="{points}"/></svg>'
    )
