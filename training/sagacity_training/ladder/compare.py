"""What the ladder's figures are worth: paired differences, shares of gaps closed, intervals.

Trips of one day share outages, so days are resampled, not trips (block bootstrap), with the same resample for
every policy. Shares of gaps are not clipped, and are None when their denominator's interval holds zero, for
then there is no gap to close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sagacity_training.ladder.play import TripOutcome

RESAMPLES = 2_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def plain(self) -> dict[str, float]:
        """As JSON-able numbers."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Row:
    """One policy's figures over the same trips."""

    n: int
    success_rate: Interval
    mean_cost: Interval
    wasted_cost: Interval
    latency_s_p95: Interval
    latency_s_p95_completed: float


class Comparison:
    """Outcomes of several policies over the same trips, in the same order."""

    def __init__(self, outcomes: Mapping[str, Sequence[TripOutcome]], *, seed: int) -> None:
        self._outcomes = outcomes
        first = next(iter(outcomes.values()))
        for name, other in outcomes.items():
            if [o.trip_id for o in other] != [o.trip_id for o in first]:
                raise ValueError(f"policy {name!r} was not played over the same trips as the others")
        days = sorted({outcome.day for outcome in first})
        place = {day: index for index, day in enumerate(days)}
        self._day = np.array([place[outcome.day] for outcome in first])
        drawn = np.random.default_rng(seed).integers(0, len(days), (RESAMPLES, len(days)))
        self._weights = np.stack([np.bincount(row, minlength=len(days)) for row in drawn]).astype(float)

    def row(self, name: str) -> Row:
        """One policy's figures."""
        outcomes = self._outcomes[name]
        latency = self._values(name, "latency_s")
        completed = np.array([outcome.completed for outcome in outcomes])
        return Row(
            n=len(outcomes),
            success_rate=self._mean(completed.astype(float)),
            mean_cost=self._mean(self._values(name, "cost")),
            wasted_cost=self._mean(self._values(name, "wasted")),
            latency_s_p95=self._p95(latency),
            latency_s_p95_completed=float(np.quantile(latency[completed], 0.95)) if completed.any() else 0.0,
        )

    def difference(self, name: str, other: str) -> Interval:
        """Mean cost of `name` minus that of `other`, paired by trip."""
        return self._mean(self._values(name, "cost") - self._values(other, "cost"))

    def gap_closed(self, name: str, worse: str, better: str) -> Interval | None:
        """The share of the cost gap between `worse` and `better` that `name` closes; None without a gap."""
        gap = self.difference(worse, better)
        if not gap.excludes_zero:
            return None
        ours = self._values(worse, "cost") - self._values(name, "cost")
        whole = self._values(worse, "cost") - self._values(better, "cost")
        resampled = self._resampled(ours) / self._resampled(whole)
        low, high = np.quantile(resampled, [0.025, 0.975])
        return Interval(float(ours.mean() / whole.mean()), float(low), float(high))

    def _values(self, name: str, key: str) -> Floats:
        return np.array([getattr(outcome, key) for outcome in self._outcomes[name]], dtype=float)

    def _resampled(self, values: Floats) -> Floats:
        sums = np.bincount(self._day, weights=values, minlength=self._weights.shape[1])
        counts = np.bincount(self._day, minlength=self._weights.shape[1])
        means: Floats = (self._weights @ sums) / (self._weights @ counts)
        return means

    def _mean(self, values: Floats) -> Interval:
        low, high = np.quantile(self._resampled(values), [0.025, 0.975])
        return Interval(float(values.mean()), float(low), float(high))

    def _p95(self, values: Floats) -> Interval:
        order = np.argsort(values)
        ranked, day = values[order], self._day[order]
        quantiles = []
        for weights in self._weights[:400]:  # A quantile needs a pass over all trips for each resample.
            mass = np.cumsum(weights[day])
            quantiles.append(ranked[np.searchsorted(mass, 0.95 * mass[-1])])
        low, high = np.quantile(quantiles, [0.025, 0.975])
        return Interval(float(np.quantile(values, 0.95)), float(low), float(high))


def summary(comparison: Comparison, names: Sequence[str]) -> dict[str, Any]:
    """The ladder's figures as JSON-able numbers, under the names that reports promise."""
    policies = {}
    for name in names:
        row = comparison.row(name)
        policies[name] = {
            "success_rate": row.success_rate.mean,
            "mean_cost": row.mean_cost.mean,
            "wasted_cost": row.wasted_cost.mean,
            "latency_s_p95": row.latency_s_p95.mean,
            "n": row.n,
        }
    from_author = comparison.gap_closed("advised", "author", "informed")
    from_static = comparison.gap_closed("advised", "static", "informed")
    return {
        "policies": policies,
        "gap_closed_author": from_author.mean if from_author else None,
        "gap_closed_static": from_static.mean if from_static else None,
        "advised_minus_author": comparison.difference("advised", "author").plain(),
        "advised_minus_static": comparison.difference("advised", "static").plain(),
    }
