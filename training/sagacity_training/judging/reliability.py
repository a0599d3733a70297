"""Whether probabilities may be used as numbers: reliability, its error, and what is left of the Brier score.

Forecasts are put into bins of equal mass; equal forecasts share a bin, so a constant has one. With n rows, a
bin k of n_k rows with mean forecast f_k and observed rate o_k, and the overall rate o (Murphy 1973, "A new
vector partition of the probability score"; the last two terms are Stephenson, Coelho and Jolliffe 2008, "Two
extra components in the Brier score decomposition"):

    Brier = reliability - resolution + uncertainty + within
    reliability = sum n_k (f_k - o_k)^2 / n        how far from honest
    resolution  = sum n_k (o_k - o)^2 / n          how far it tells rows apart
    uncertainty = o (1 - o)                        what a constant would have
    within      = sum (p - f_k)^2 / n - 2 sum (p - f_k) (y - o_k) / n     what binning hides

This is an identity, not an approximation. ECE is sum n_k |f_k - o_k| / n. Honest forecasts have an ECE
above zero by chance, more so the fewer rows a bin has, hence no bin under `BIN_ROWS_MIN` rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sagacity_training.judging.blocks import Blocks, Interval, interval_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BINS_MAX: Final = 10
BIN_ROWS_MIN: Final = 100


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """One bin: what was forecast on average, how often it happened, and over how many rows."""

    forecast: float
    observed: float
    rows: int


@dataclass(frozen=True, slots=True)
class BrierParts:
    """The parts of a Brier score; `reliability - resolution + uncertainty + within` is the score."""

    reliability: float
    resolution: float
    uncertainty: float
    within: float

    def as_json(self) -> dict[str, float]:
        """As JSON values."""
        return asdict(self)


def bins_of(forecasts: Array) -> NDArray[np.int64]:
    """The bin of each row, from 0, by rising forecast; equal mass but for equal forecasts."""
    import numpy as np

    if not len(forecasts):
        return np.zeros(0, dtype=np.int64)
    wanted = min(BINS_MAX, max(1, len(forecasts) // BIN_ROWS_MIN))
    edges = np.unique(np.quantile(forecasts, np.linspace(0, 1, wanted + 1)[1:-1], method="lower"))
    told = np.searchsorted(edges, forecasts, side="left")
    numbers: NDArray[np.int64] = np.unique(told, return_inverse=True)[1].astype(np.int64)
    return numbers


def reliability_points(outcomes: Array, forecasts: Array) -> tuple[ReliabilityPoint, ...]:
    """The bins, by rising forecast."""
    told, seen, rows = _means(outcomes, forecasts, bins_of(forecasts))
    return tuple(
        ReliabilityPoint(float(f), float(o), int(n)) for f, o, n in zip(told, seen, rows, strict=True)
    )


def calibration_error(outcomes: Array, forecasts: Array) -> float:
    """The mean distance of forecast and observed rate over bins of equal mass (ECE); at least one row."""
    told, seen, rows = _means(outcomes, forecasts, bins_of(forecasts))
    return float((rows * abs(told - seen)).sum() / rows.sum())


def calibration_interval(outcomes: Array, forecasts: Array, blocks: Blocks, draws: Array) -> Interval:
    """The ECE with its interval over resampled blocks, the bins as they are."""
    import numpy as np

    bins = bins_of(forecasts)
    shape = draws.shape[1], int(bins.max()) + 1
    gaps = np.zeros(shape)
    np.add.at(gaps, (blocks.of_row, bins), forecasts - outcomes)
    rows = np.bincount(blocks.of_row, minlength=shape[0])
    resampled = abs(draws @ gaps).sum(axis=1) / (draws @ rows)
    return interval_of(calibration_error(outcomes, forecasts), resampled, blocks.count)


def brier_parts(outcomes: Array, forecasts: Array) -> BrierParts:
    """The decomposition of mean((forecasts - outcomes)^2); at least one row."""
    bins = bins_of(forecasts)
    told, seen, rows = _means(outcomes, forecasts, bins)
    number, rate = len(outcomes), float(outcomes.mean())
    spread, surprise = forecasts - told[bins], outcomes - seen[bins]
    return BrierParts(
        float((rows * (told - seen) ** 2).sum() / number),
        float((rows * (seen - rate) ** 2).sum() / number),
        rate * (1 - rate),
        float((spread**2).mean() - 2 * (spread * surprise).mean()),
    )


def _means(outcomes: Array, forecasts: Array, bins: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Mean forecast, observed rate and rows of each bin."""
    import numpy as np

    rows = np.bincount(bins).astype(np.float64)
    return (
        np.bincount(bins, weights=forecasts) / rows,
        np.bincount(bins, weights=outcomes) / rows,
        rows,
    )
