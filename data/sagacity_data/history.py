"""What the fold remembers of each service, step and saga type: small, bounded, and exact in event time.

Sums tolerate signals that arrive late (`decay.py`). The last outcome and the streak do not: a signal earlier
than the last one of its service changes neither, because its place among those in between is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from sagacity_data.decay import DecayedSums
from sagacity_data.rows import AttemptOutcome, unhealthy
from sagacity_data.sickness import Sickness
from sagacity_data.signals import CallEnded, CallStarted, RunClosed, RunOpened, Signal
from sagacity_data.under_way import UnderWay
from sagacity_engine import Direction, Status

FIRST, FAILED, CALLS, HEALTH_FAILED, TIMED, LOG_S = range(6)
"""Sum numbers of a service or a step: first attempts, those that failed, all calls, those that failed for the
service's health, calls whose duration is known, and the sum of its logarithm."""

RUNS, RUNS_FAILED = range(2)
"""Sum numbers of a saga type."""

CALL_SUMS: Final = 6
RUN_SUMS: Final = 2

SERVICES_MAX: Final = 5_000
STEPS_MAX: Final = 20_000
SAGAS_MAX: Final = 5_000
"""Beyond these, the least recently changed tenth is forgotten."""

STREAK_MAX: Final = 100
SHORTEST_S: Final = 0.001
"""Durations count as at least this long: a logarithm needs something above zero."""

K = TypeVar("K")
V = TypeVar("V")


class History:
    """All that the features know of the past. Folds signals in the order they are given."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceHistory] = {}
        self.steps: dict[tuple[str, str], DecayedSums] = {}  # By saga type and step.
        self.sagas: dict[str, DecayedSums] = {}
        self.runs = UnderWay()

    def fold(self, signal: Signal) -> None:
        """Takes one signal in."""
        match signal:
            case CallEnded():
                self._end_call(signal)
            case CallStarted():
                self._service(signal.service, signal.at).calls.open(_call_key(signal), signal.at)
            case RunOpened():
                self.runs.open((signal.run_id,), signal.at)
            case RunClosed():
                self.runs.close((signal.run_id,))
                sums = _sums(self.sagas, signal.saga, SAGAS_MAX, signal.at, RUN_SUMS)
                sums.add(signal.at, run_amounts(signal))

    def _end_call(self, call: CallEnded) -> None:
        service = self._service(call.service, call.at)
        service.calls.close(_call_key(call))
        if call.outcome is AttemptOutcome.CRASHED:
            return
        amounts = call_amounts(call)
        service.end(call, amounts)
        if call.direction is Direction.FORWARD:
            key = (call.saga, call.step)
            _sums(self.steps, key, STEPS_MAX, call.at, CALL_SUMS).add(call.at, amounts)

    def _service(self, name: str, at: float) -> ServiceHistory:
        service = self.services.get(name)
        if service is None:
            if len(self.services) >= SERVICES_MAX:
                _forget_a_tenth(self.services, lambda kept: kept.sums.at)
            service = self.services[name] = ServiceHistory(at)
        return service

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "services": {name: service.snapshot() for name, service in self.services.items()},
            "steps": [[*key, sums.at, sums.sums[:]] for key, sums in self.steps.items()],
            "sagas": {name: {"at": sums.at, "sums": sums.sums[:]} for name, sums in self.sagas.items()},
            "runs": self.runs.snapshot(),
        }

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> History:
        """The history that gave this snapshot; anything else raises some built-in error."""
        history = cls()
        for name, service in plain["services"].items():
            history.services[name] = ServiceHistory.restore(service)
        for saga, step, at, sums in plain["steps"]:
            history.steps[saga, step] = restored_sums({"at": at, "sums": sums}, CALL_SUMS)
        for name, sums in plain["sagas"].items():
            history.sagas[name] = restored_sums(sums, RUN_SUMS)
        history.runs.restore(plain["runs"])
        return history


class ServiceHistory:
    """One service: its decayed sums, what is under way, and how its last call ended."""

    __slots__ = (
        "calls",
        "health_failure_at",
        "last_at",
        "last_outcome",
        "sickness",
        "streak",
        "success_at",
        "sums",
    )

    def __init__(self, at: float) -> None:
        self.sums = DecayedSums.zero(at, CALL_SUMS)
        self.calls = UnderWay()
        self.sickness = Sickness()
        self.success_at: float | None = None
        self.health_failure_at: float | None = None
        self.last_at: float | None = None
        self.last_outcome = "none"
        self.streak = 0

    def end(self, call: CallEnded, amounts: list[tuple[int, float]]) -> None:
        """A call of the service ended, worth `amounts`."""
        at = call.at
        self.sums.add(at, amounts)
        if call.direction is Direction.FORWARD:
            self.sickness.end(at, call.outcome, call.failure_class)
        sick = unhealthy(call.outcome, call.failure_class)
        if call.outcome is AttemptOutcome.SUCCEEDED:
            self.success_at = at if self.success_at is None else max(at, self.success_at)
        elif sick:
            self.health_failure_at = at if self.health_failure_at is None else max(at, self.health_failure_at)
        if self.last_at is not None and at < self.last_at:
            return
        self.last_at = at
        self.streak = min(self.streak + 1, STREAK_MAX) if sick else 0
        if sick:
            self.last_outcome = "health_failure"
        else:
            self.last_outcome = call.outcome.value

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {name: getattr(self, name) for name in _SERVICE_SCALARS}
        return {
            **plain,
            "at": self.sums.at,
            "sums": self.sums.sums[:],
            "calls": self.calls.snapshot(),
            "sickness": [self.sickness.at, *self.sickness.log_odds],
        }

    @classmethod
    def restore(cls, plain: dict[str, Any]) -> ServiceHistory:
        """The history that gave this snapshot."""
        history = cls(plain["at"])
        history.sums = restored_sums(plain, CALL_SUMS)
        history.calls.restore(plain["calls"])
        heard_at, *scores = plain["sickness"]
        if len(scores) != len(history.sickness.log_odds):
            raise ValueError(f"{len(scores)} sickness scores, not {len(history.sickness.log_odds)}")
        history.sickness.at = None if heard_at is None else float(heard_at)
        history.sickness.log_odds = [float(score) for score in scores]
        for name in _SERVICE_SCALARS:
            setattr(history, name, plain[name])
        return history


_SERVICE_SCALARS = ("success_at", "health_failure_at", "last_at", "last_outcome", "streak")


def call_amounts(call: CallEnded) -> list[tuple[int, float]]:
    """What the end of a call adds to the sums of its service (and, if it went forward, of its step).

    A timed-out call counts with its timeout as its duration: a lower bound, but dropping it would make a slow
    service look fast.
    """
    amounts = [(CALLS, 1.0)]
    if unhealthy(call.outcome, call.failure_class):
        amounts.append((HEALTH_FAILED, 1.0))
    if call.attempt == 1 and call.direction is Direction.FORWARD:
        amounts.append((FIRST, 1.0))
        if call.outcome is not AttemptOutcome.SUCCEEDED:
            amounts.append((FAILED, 1.0))
    if call.duration_s is not None and call.outcome in _TIMED:
        amounts.append((TIMED, 1.0))
        amounts.append((LOG_S, math.log(max(call.duration_s, SHORTEST_S))))
    return amounts


_TIMED = (AttemptOutcome.SUCCEEDED, AttemptOutcome.TIMED_OUT)


def run_amounts(run: RunClosed) -> list[tuple[int, float]]:
    """What the end of a run adds to the sums of its saga type."""
    return [(RUNS, 1.0), (RUNS_FAILED, 1.0 if run.status is not Status.COMPLETED else 0.0)]


def restored_sums(plain: dict[str, Any], kinds: int) -> DecayedSums:
    """Decayed sums from a snapshot."""
    sums = DecayedSums.zero(float(plain["at"]), kinds)
    taken = [float(amount) for amount in plain["sums"]]
    if len(taken) != len(sums.sums):
        raise ValueError(f"{len(taken)} sums, not {len(sums.sums)}")
    sums.sums = taken
    return sums


def _call_key(call: CallStarted | CallEnded) -> tuple[str, ...]:
    return (call.run_id, call.step, call.direction.value, str(call.attempt))


def _sums(table: dict[K, DecayedSums], key: K, most: int, at: float, kinds: int) -> DecayedSums:
    """The sums under `key`, made if need be; a full table first forgets."""
    sums = table.get(key)
    if sums is None:
        if len(table) >= most:
            _forget_a_tenth(table, lambda kept: kept.at)
        sums = table[key] = DecayedSums.zero(at, kinds)
    return sums


def _forget_a_tenth(table: dict[K, V], changed_at: Callable[[V], float]) -> None:
    """Removes the least recently changed tenth of a full table."""
    oldest = sorted(table, key=lambda key: changed_at(table[key]))
    for key in oldest[: max(1, len(oldest) // 10)]:
        del table[key]
