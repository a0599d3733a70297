"""Base rates of classes, shrunk level by level, that say how many cases they rest on.

The rate of a step is drawn towards that of its service, that towards its saga type's, and that towards the
rate of all, each as if the wider one had been seen `strength` times (the mean of a Dirichlet-multinomial; for
two classes a beta-binomial). So a step seen twice is never called perfect, and one never seen has the rate of
the narrowest level that was. Levels need not be nested: a new saga type may call a service that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any

from sagacity_models.feature_columns import Features


@dataclass(frozen=True, slots=True)
class RateLevel:
    """Counts of each class by the value of one feature, and how many cases the wider rate is worth."""

    feature: str
    strength: float
    counts: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The narrowest level that has seen a row's value (empty for none: the rate of all), and its cases."""

    level: str
    cases: float


@dataclass(frozen=True, slots=True)
class ShrunkRates:
    """Rates by class: `totals` of all rows, drawn towards `prior` with the weight of `prior_cases`.

    `levels` go from wide to narrow. Raises `ValueError` where the parts do not fit together.
    """

    prior: tuple[float, ...]
    prior_cases: float
    totals: tuple[float, ...]
    levels: tuple[RateLevel, ...] = ()

    def __post_init__(self) -> None:
        width = len(self.prior)
        tables = [self.totals, *(counts for level in self.levels for counts in level.counts.values())]
        if width < 2 or any(len(counts) != width for counts in tables):
            raise ValueError("rates need at least two classes, and a count of each everywhere")
        told = [*self.prior, *(count for counts in tables for count in counts)]
        if not all(isfinite(each) and each >= 0 for each in told) or abs(fsum(self.prior) - 1) > 1e-6:
            raise ValueError("counts must be finite and not negative, and the prior must sum to 1")
        weights = [self.prior_cases, *(level.strength for level in self.levels)]
        if not all(isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError("what a wider rate is worth must be finite and above 0")

    def of(self, row: Features) -> list[float]:
        """One probability per class; they sum to 1."""
        rates = _drawn(self.totals, self.prior, self.prior_cases)
        for level in self.levels:
            counts = level.counts.get(str(row.get(level.feature)))
            if counts is not None:
                rates = _drawn(counts, rates, level.strength)
        return rates

    def evidence(self, row: Features) -> Evidence:
        """What the rates of this row rest on."""
        for level in reversed(self.levels):
            counts = level.counts.get(str(row.get(level.feature)))
            if counts is not None:
                return Evidence(level.feature, fsum(counts))
        return Evidence("", fsum(self.totals))

    def as_json(self) -> dict[str, Any]:
        """The rates as JSON values; `from_json` reads them back."""
        return {
            "prior": list(self.prior),
            "prior_cases": self.prior_cases,
            "totals": list(self.totals),
            "levels": [
                {
                    "feature": level.feature,
                    "strength": level.strength,
                    "counts": {value: list(counts) for value, counts in level.counts.items()},
                }
                for level in self.levels
            ],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ShrunkRates:
        """The rates that `as_json` wrote. Raises `ValueError` where they do not fit together."""
        return cls(
            tuple(map(float, written["prior"])),
            float(written["prior_cases"]),
            tuple(map(float, written["totals"])),
            tuple(
                RateLevel(
                    str(level["feature"]),
                    float(level["strength"]),
                    {str(value): tuple(map(float, counts)) for value, counts in level["counts"].items()},
                )
                for level in written["levels"]
            ),
        )


def _drawn(counts: Sequence[float], towards: Sequence[float], strength: float) -> list[float]:
    total = fsum(counts) + strength
    return [(count + strength * share) / total for count, share in zip(counts, towards, strict=True)]
