"""All running sagas of an engine, watched: told what happens, asked how they will end.

The watch keeps one `LiveCase` per running run, the health of every service, and nothing of runs that have
ended. At most `RUNS_MAX` runs are watched; the one that was heard of longest ago gives way to a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from sagacity_data.event_log import CaseEvent
from sagacity_data.rows import ContextValues
from sagacity_engine import Saga
from sagacity_models.live_risk import LiveCase, LiveForecast, LiveRisk
from sagacity_models.live_risk_events import AttemptEnd, RunEvents, RunShape, ServiceHealth

RUNS_MAX: Final = 100_000


class LiveWatch:
    """Feed it launches, ends of attempts and ends of runs in the order of time. For one thread."""

    def __init__(self, risk: LiveRisk, runs_max: int = RUNS_MAX) -> None:
        self._risk = risk
        self._runs_max = runs_max
        self._health = ServiceHealth()
        self._runs: OrderedDict[str, tuple[RunEvents, LiveCase]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def launched(self, run_id: str, saga: Saga, context: ContextValues, at: float) -> None:
        """A run was launched at `at` (seconds since 1970)."""
        events = RunEvents(saga.name, self._health, RunShape.of(saga))
        case = self._risk.start({})
        case.add(events.launched(context, at))
        self._runs[run_id] = (events, case)
        if len(self._runs) > self._runs_max:
            self._runs.popitem(last=False)

    def ended(self, run_id: str, end: AttemptEnd) -> None:
        """An attempt of a run has ended; of a run that is not watched only its service's health is noted."""
        self._health.note(end)
        if (watched := self._runs.get(run_id)) is not None:
            events, case = watched
            case.add(events.ended(end))
            self._runs.move_to_end(run_id)

    def run_ended(self, run_id: str) -> None:
        """The run is over; nothing of it is kept."""
        self._runs.pop(run_id, None)

    def forecast(self, run_id: str, at: float, *, within_s: float | None = None) -> LiveForecast:
        """What is to be expected of a watched run as of `at`. Raises `KeyError` for any other run.

        Where `within_s` is given, so many seconds from `at` take the place of the run's deadline.
        """
        events, case = self._runs[run_id]
        if within_s is not None:
            return case.forecast(at, at - case.begun_at + within_s)
        return case.forecast(at, events.shape.deadline_s if events.shape is not None else None)

    def latest(self, run_id: str) -> CaseEvent:
        """What a watched run was last heard of with. Raises `KeyError` for any other run."""
        return self._runs[run_id][1].latest

    def hopeless(self, threshold: float, at: float) -> Iterator[tuple[str, LiveForecast]]:
        """The watched runs with P(success) at or below `threshold`, and enough evidence to say so."""
        for run_id in list(self._runs):
            told = self.forecast(run_id, at)
            if told.hopeless(threshold):
                yield run_id, told
