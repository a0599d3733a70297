"""What a gate asks for before a model may replace another: numbers, with what each one means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def bounded(default: Any, low: float, high: float, about: str) -> Any:
    """A dataclass field that a configuration may set within [low, high]; `about` documents it."""
    return field(default=default, metadata={"low": low, "high": high, "about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The gate's numbers. `alpha` is for all gatings of one model together, not for each."""

    alpha: float = bounded(
        0.05, 1e-6, 0.5, "the chance that a model no better than the present one is ever promoted"
    )
    ece_max: float = bounded(0.05, 0.0, 1.0, "the largest calibration error (equal mass) of a promoted model")
    test_rows_min: int = bounded(500, 1, 10_000_000, "held-out rows below which nothing is promoted")
    test_events_min: int = bounded(
        30, 1, 10_000_000, "held-out rows with the rarer outcome below which nothing is promoted"
    )
    slice_rows_min: int = bounded(200, 10, 10_000_000, "held-out rows below which a slice is not judged")
    slice_harm_max: float = bounded(
        0.05, 0.0, 10.0, "share of its log loss that a slice may lose against the base rate or the champion"
    )
    slice_alpha: float = bounded(
        0.05, 1e-6, 0.5, "the chance that, of all slices, one that is no worse is called worse"
    )
    blocks: int = bounded(30, 10, 1_000, "stretches of time a comparison counts as one observation each")
