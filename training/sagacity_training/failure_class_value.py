"""What knowing a failure's class is worth: the best schedule of waits, and what it costs in truth.

A failed step either waits b_1, ..., b_m seconds and tries again after each, going on as soon as it passes, or
gives up after m tries and undoes what was done. With alive_c the share of class c that is still failing, at
first P(class), and t the time since the failure, each try k adds

    t += b_k;  cost += A (retry + latency b_k);  cost += sum_c alive_c s_c(t) onward;  alive_c *= 1 - s_c(t)

where A is the sum of alive_c before the try, and giving up adds A abort. A transient failure passes with a
constant chance, a cascading one with s (1 - exp(-t / recovery)), a permanent one never. Schedules are
enumerated; the one of least expected cost is the decision. A decision from any forecast is paid for under the
true class: that is how forecasts are compared in money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

from sagacity_engine import FailureClass

Schedule = tuple[float, ...]
_WAITS_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_TRIES_MAX: Final = 6

SCHEDULES: Final[tuple[Schedule, ...]] = (
    (),
    *((wait,) * tries for wait in _WAITS_S for tries in range(1, _TRIES_MAX + 1)),
    *(tuple(wait * 2.0**k for k in range(tries)) for wait in (0.5, 2.0) for tries in (2, 3, 4, 5)),
)
"""Giving up at once, up to six equal waits, and waits that double: fewer than fifty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stakes:
    """What one failure is about: costs in the owner's unit, chances of a try, seconds."""

    retry: float  # Of one more attempt.
    latency_per_s: float
    onward: float  # Expected cost of going on once the step has passed.
    abort: float  # Of giving up: undos and penalty.
    passes: float  # P(a try passes), but for the class.
    recovery_s: float  # Mean time until a cascading failure has passed.


def cost_of(schedule: Schedule, shares: Mapping[FailureClass, float], stakes: Stakes) -> float:
    """Expected cost of a schedule, given P(class); classes that are not told count as permanent.

    >>> stakes = Stakes(retry=1, latency_per_s=0, onward=2, abort=10, passes=0.5, recovery_s=60)
    >>> cost_of((1.0,), {FailureClass.TRANSIENT: 1.0}, stakes)
    7.0
    """
    alive = {each: shares.get(each, 0.0) for each in (FailureClass.TRANSIENT, FailureClass.CASCADING)}
    lasting = max(1.0 - sum(alive.values()), 0.0)
    elapsed_s = cost = 0.0
    for wait_s in schedule:
        elapsed_s += wait_s
        cost += (lasting + sum(alive.values())) * (stakes.retry + stakes.latency_per_s * wait_s)
        recovered = 1 - exp(-elapsed_s / stakes.recovery_s)
        chances = {FailureClass.TRANSIENT: stakes.passes, FailureClass.CASCADING: stakes.passes * recovered}
        for each, chance in chances.items():
            cost += alive[each] * chance * stakes.onward
            alive[each] *= 1 - chance
    return cost + (lasting + sum(alive.values())) * stakes.abort


def best_schedule(
    shares: Mapping[FailureClass, float], stakes: Stakes, schedules: Sequence[Schedule] = SCHEDULES
) -> Schedule:
    """The schedule of least expected cost; the first of equals."""
    return min(schedules, key=lambda schedule: cost_of(schedule, shares, stakes))


@dataclass(frozen=True, slots=True)
class ClassValue:
    """Mean cost of a failure, decided without its class, by a forecast of it, and knowing it."""

    failures: int
    blind: float
    forecast: float
    oracle: float

    @property
    def captured(self) -> float:
        """The share of the oracle's gain over the blind decision that the forecast captures."""
        whole = self.blind - self.oracle
        return (self.blind - self.forecast) / whole if whole > 0 else 0.0


def class_value(
    truths: Sequence[FailureClass],
    forecasts: Sequence[Mapping[FailureClass, float]],
    stakes: Sequence[Stakes],
    shares: Mapping[FailureClass, float],
) -> ClassValue:
    """What decisions cost under the true classes; the blind ones only know `shares`, of an earlier time.

    Raises `ValueError` where lengths differ or there is no failure.
    """
    if not truths:
        raise ValueError("no failure to decide about")
    costs = [0.0, 0.0, 0.0]
    blind: dict[Stakes, Schedule] = {}
    for truth, forecast, stake in zip(truths, forecasts, stakes, strict=True):
        certain = {truth: 1.0}
        if stake not in blind:
            blind[stake] = best_schedule(shares, stake)
        decisions = (blind[stake], best_schedule(forecast, stake), best_schedule(certain, stake))
        costs = [cost + cost_of(each, certain, stake) for cost, each in zip(costs, decisions, strict=True)]
    return ClassValue(len(truths), *(cost / len(truths) for cost in costs))
