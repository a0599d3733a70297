"""Whether forecasts still say what happens, and whether launches still look as they did in training.

A forecast q of a yes/no outcome y is watched by two sums per step (CUSUM, Page 1954), one for "it happens
more often than told", one for less, each the log-likelihood ratio of odds that have doubled or halved:

    S <- max(0, S + y d - ln(1 - q + q e^d)),   d = +-ln 2,   alarm when S >= h

While forecasts are right, a sum reaches h once in at least e^h outcomes (the ratio's expectation is 1), so h
is the logarithm of how many outcomes may pass between false alarms. Features are compared by the population
stability index, sum (a - e) ln(a / e) over the bins of training; it explains a drift and gives no alarm by
itself, for features may move without any forecast being wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.linear import clip_probability

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FALSE_ALARM_OUTCOMES: Final = 1_000_000
"""Outcomes of one step, at least, between two false alarms in one direction."""
ODDS: Final = 2.0
STEPS_MAX: Final = 10_000
"""Steps watched one by one; any further ones are watched together."""
OTHERS: Final = "(other steps)"
PSI_BINS: Final = 10
PSI_MUCH: Final = 0.25
"""A feature whose index is above this, chance aside, has moved much."""


@dataclass(slots=True)
class _Sums:
    more: float = 0.0
    less: float = 0.0
    outcomes: int = 0


@dataclass(frozen=True, slots=True)
class Alarm:
    """A step whose outcomes no longer are what was forecast. `more`: they happen more often."""

    step: str
    more: bool
    at: float
    outcomes: int

    @property
    def words(self) -> str:
        """The alarm in words."""
        way = "more" if self.more else "less"
        return f"{self.step} fails {way} often than forecast, as {self.outcomes} outcomes show"


@dataclass(slots=True)
class CalibrationWatch:
    """The sums of every step; `observe` each outcome once, in the order in which they became known."""

    threshold: float = math.log(FALSE_ALARM_OUTCOMES)
    _steps: dict[str, _Sums] = field(default_factory=dict)

    def observe(self, step: str, forecast: float, happened: bool, at: float) -> Alarm | None:
        """Folds one outcome in; the alarm that it gives, if any, after which the step begins anew."""
        key = step if step in self._steps or len(self._steps) < STEPS_MAX else OTHERS
        sums = self._steps.setdefault(key, _Sums())
        q = clip_probability(forecast)
        sums.outcomes += 1
        sums.more = max(0.0, sums.more + _ratio(q, ODDS, happened))
        sums.less = max(0.0, sums.less + _ratio(q, 1 / ODDS, happened))
        if max(sums.more, sums.less) < self.threshold:
            return None
        self._steps[key] = _Sums()
        return Alarm(key, sums.more >= sums.less, at, sums.outcomes)

    def snapshot(self) -> dict[str, Any]:
        """The sums as JSON values; `restore` reads them back."""
        steps = {step: [sums.more, sums.less, sums.outcomes] for step, sums in self._steps.items()}
        return {"threshold": self.threshold, "steps": steps}

    @classmethod
    def restore(cls, document: Mapping[str, Any]) -> CalibrationWatch:
        """The watch that gave this snapshot; raises `ValueError` for anything else."""
        try:
            steps = {
                str(step): _Sums(float(more), float(less), int(outcomes))
                for step, (more, less, outcomes) in document["steps"].items()
            }
            return cls(float(document["threshold"]), steps)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise ValueError(f"this is no snapshot of a watch ({problem}); begin a new one") from None


def _ratio(forecast: float, odds: float, happened: bool) -> float:
    """The log-likelihood ratio of odds multiplied by `odds` against the forecast's own."""
    return (math.log(odds) if happened else 0.0) - math.log(1 - forecast + forecast * odds)


@dataclass(frozen=True, slots=True)
class Moved:
    """How far one feature has moved from training; `chance` is what the index would be without any move."""

    feature: str
    index: float
    chance: float

    @property
    def much(self) -> bool:
        """Whether that is more than `PSI_MUCH` beyond chance."""
        return self.index - self.chance > PSI_MUCH

    @property
    def words(self) -> str:
        """The move in words."""
        return f"{self.feature} is not what it was in training (stability index {self.index:.2f})"


def moved_number(feature: str, trained: Array, now: Array) -> Moved:
    """The index of a number over bins of equal mass in training; missing values (NaN) are a bin."""
    import numpy as np

    inner = np.linspace(0, 1, PSI_BINS + 1)[1:-1]
    edges = np.unique(np.nanquantile(trained, inner)) if _any(trained) else np.zeros(0)

    def counts(values: Array) -> Array:
        known = values[~np.isnan(values)]
        binned = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
        return np.append(binned, len(values) - len(known)).astype(np.float64)

    return _index(feature, counts(trained), counts(now))


def moved_category(feature: str, trained: Sequence[str | None], now: Sequence[str | None]) -> Moved:
    """The index of a category over its levels; what training never saw is one level."""
    import numpy as np

    levels = sorted({value for value in trained if value is not None})
    place = {level: number for number, level in enumerate(levels)}

    def counts(values: Sequence[str | None]) -> Array:
        codes = [len(levels) if value is None else place.get(value, len(levels) + 1) for value in values]
        return np.bincount(codes, minlength=len(levels) + 2).astype(np.float64)

    return _index(feature, counts(trained), counts(now))


def _any(values: Array) -> bool:
    return bool((values == values).any())  # noqa: PLR0124  not NaN


def _index(feature: str, trained: Array, now: Array) -> Moved:
    """The index of counts, half a count added to each bin that either has, and its expectation by chance."""
    import numpy as np

    used = (trained > 0) | (now > 0)
    bins = int(used.sum())
    if trained.sum() == 0 or now.sum() == 0 or bins < 2:
        return Moved(feature, 0.0, 0.0)
    expected = (trained[used] + 0.5) / (trained[used].sum() + 0.5 * bins)
    actual = (now[used] + 0.5) / (now[used].sum() + 0.5 * bins)
    index = float(((actual - expected) * np.log(actual / expected)).sum())
    return Moved(feature, index, (bins - 1) * (1 / float(trained.sum()) + 1 / float(now.sum())))
