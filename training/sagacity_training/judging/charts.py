"""Small charts as SVG text, for a page that opens without a network: no script, no font, no address.

Whatever words a chart holds are escaped here, so hostile names are only ever text.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BELOW = 360, 260, 52, 40
Points = Sequence[tuple[float, float]]


def reliability_chart(points: Points, what: str) -> str:
    """Observed shares against mean forecasts; honest forecasts lie on the dashed diagonal."""
    top = max([0.01, *(value for point in points for value in point)]) * 1.1
    dots = "".join(
        f'<circle class="dot" cx="{_x(told, 0, top):.1f}" cy="{_y(seen, 0, top):.1f}" r="4"/>'
        for told, seen in points
    )
    diagonal = f'<path class="even" d="{_path([(0, 0), (top, top)], (0, top), (0, top))}"/>'
    line = f'<path class="line" d="{_path(points, (0, top), (0, top))}"/>'
    return _chart(f"{diagonal}{line}{dots}", ("forecast", "observed share"), what, (0, top), (0, top))


def curve_chart(points: Points, level: float, what: str) -> str:
    """Values over rising numbers of rows, beside a constant `level`."""
    across = 0.0, max([1.0, *(x for x, _ in points)])
    values = [level, *(y for _, y in points)]
    low, high = min(values), max(values)
    room = max(high - low, 1e-6) * 0.15
    up = low - room, high + room
    even = f'<path class="even" d="{_path([(across[0], level), (across[1], level)], across, up)}"/>'
    line = f'<path class="line" d="{_path(points, across, up)}"/>'
    dots = "".join(
        f'<circle class="dot" cx="{_x(x, *across):.1f}" cy="{_y(y, *up):.1f}" r="4"/>' for x, y in points
    )
    return _chart(f"{even}{line}{dots}", ("rows learnt from", "log loss"), what, across, up)


def _chart(
    inside: str,
    axes: tuple[str, str],
    what: str,
    across: tuple[float, float],
    up: tuple[float, float],
) -> str:
    right, bottom = _WIDTH - 10, _HEIGHT - _BELOW
    ticks = "".join(
        f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_short(value)}</text>'
        for x, value in ((_LEFT, across[0]), (right, across[1]))
    )
    ticks += "".join(
        f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end">{_short(value)}</text>'
        for y, value in ((bottom, up[0]), (18, up[1]))
    )
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f"<title>{escape(what)}</title>"
        f'<path class="axis" d="M{_LEFT} 10V{bottom}H{right}"/>{inside}{ticks}'
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(axes[0])}</text>'
        f'<text transform="translate(12 {bottom / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(axes[1])}</text></svg>"
    )


def _path(points: Points, across: tuple[float, float], up: tuple[float, float]) -> str:
    told = [f"{_x(x, *across):.1f} {_y(y, *up):.1f}" for x, y in points]
    return "M" + "L".join(told) if told else ""


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - 10 - _LEFT)


def _y(value: float, low: float, high: float) -> float:
    return (_HEIGHT - _BELOW) - (value - low) / (high - low) * (_HEIGHT - _BELOW - 14)


def _short(value: float) -> str:
    return f"{value:.3g}"
