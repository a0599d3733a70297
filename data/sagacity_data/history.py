"""What the fold remembers of each service, step and saga type: small, bounded, and exact in event time.

A run counts towards its saga type when it ends. One that somebody abandoned ends without a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from sagacity_data.decay import WIDTH, DecayedSums, Moment
from sagacity_data.service_history import (
    CALL_SUMS,
    LOG_S,
    TIMED,
    ServiceHistory,
    meaning_of,
    plain_sums,
    restored_sums,
)
from sagacity_data.signals import CallEnded, CallStarted, RunClosed, RunOpened, Signal
from sagacity_data.under_way import UnderWay
from sagacity_engine import Direction, Status

RUNS, RUNS_FAILED = range(0, 2 * WIDTH, WIDTH)
"""Places of a saga type's sums."""

RUN_SUMS: Final = 2

SERVICES_MAX: Final = 5_000
STEPS_MAX: Final = 20_000
SAGAS_MAX: Final = 5_000
"""Beyond these, the least recently changed tenth is forgotten."""

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
        self._now = Moment(0.0)

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
                self._end_run(signal)

    def _end_call(self, call: CallEnded) -> None:
        service = self._service(call.service, call.at)
        service.calls.close(_call_key(call))
        forward = call.direction is Direction.FORWARD
        meaning = meaning_of(call.outcome, call.failure_class, forward and call.attempt == 1, call.called)
        if meaning is None:
            return
        now, amounts = self._moment(call.at), meaning.amounts
        if meaning.timed and call.duration_s is not None and math.isfinite(call.duration_s):
            log_s = math.log(max(call.duration_s, SHORTEST_S))
            amounts = (*amounts, (TIMED, 1.0), (LOG_S, log_s))
        service.sums.add(now, amounts)
        service.end(call, meaning)
        if forward:
            _sums(self.steps, (call.saga, call.step), STEPS_MAX, now, CALL_SUMS).add(now, amounts)

    def _end_run(self, run: RunClosed) -> None:
        if run.status is Status.ABANDONED:
            return
        failed = 0.0 if run.status is Status.COMPLETED else 1.0
        now = self._moment(run.at)
        sums = _sums(self.sagas, run.saga, SAGAS_MAX, now, RUN_SUMS)
        sums.add(now, ((RUNS, 1.0), (RUNS_FAILED, failed)))

    def _moment(self, at: float) -> Moment:
        if self._now.at != at:
            self._now = Moment(at)
        return self._now

    def _service(self, name: str, at: float) -> ServiceHistory:
        service = self.services.get(name)
        if service is None:
            if len(self.services) >= SERVICES_MAX:
                _forget_a_tenth(self.services, lambda kept: kept.sums.at)
            service = self.services[name] = ServiceHistory(self._moment(at))
        return service

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "services": {name: service.snapshot() for name, service in self.services.items()},
            "steps": [[*key, plain_sums(sums)] for key, sums in self.steps.items()],
            "sagas": {name: plain_sums(sums) for name, sums in self.sagas.items()},
            "runs": self.runs.snapshot(),
        }

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> History:
        """The history that gave this snapshot; anything else raises some built-in error."""
        history = cls()
        for name, service in plain["services"].items():
            history.services[name] = ServiceHistory.restore(service)
        for saga, step, sums in plain["steps"]:
            history.steps[saga, step] = restored_sums(sums, CALL_SUMS)
        for name, sums in plain["sagas"].items():
            history.sagas[name] = restored_sums(sums, RUN_SUMS)
        history.runs.restore(plain["runs"])
        return history


def _call_key(call: CallStarted | CallEnded) -> tuple[str | int, ...]:
    return (call.run_id, call.step, call.direction, call.attempt)


def _sums(table: dict[K, DecayedSums], key: K, most: int, now: Moment, kinds: int) -> DecayedSums:
    """The sums under `key`, made if need be; a full table first forgets."""
    sums = table.get(key)
    if sums is None:
        if len(table) >= most:
            _forget_a_tenth(table, lambda kept: kept.at)
        sums = table[key] = DecayedSums.zero(now, kinds)
    return sums


def _forget_a_tenth(table: dict[K, V], changed_at: Callable[[V], float]) -> None:
    """Removes the least recently changed tenth of a full table."""
    oldest = sorted(table, key=lambda key: changed_at(table[key]))
    for key in oldest[: max(1, len(oldest) // 10)]:
        del table[key]
