"""The same machine in virtual time: thousands of runs a second, and a seed replays every one of them.

The host keeps a heap of moments. At each it feeds one run what happened, journals what the machine decides
into a list (memory is this host's journal) and asks the services how the launched attempts will go. Nothing
waits: a reply's duration only says at which later moment its event is fed. Timeouts, backoffs and deadlines
are therefore exact. Replies, jitter and launch times are all injected. Runs queue for the resources they lock
as they do elsewhere, whatever `when_held` says: a launch in virtual time is neither held up nor refused.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from sagacity_engine.advisor import Advice, Arm, Launch, accepted
from sagacity_engine.events import (
    AttemptStarted,
    Direction,
    Event,
    LocksAcquired,
    RunStarted,
    Status,
)
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.hosting.locking import lock_keys
from sagacity_engine.machine import machine
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.owed import next_wake, turning_back
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.machine.sub_sagas import sub_saga_of
from sagacity_engine.machine.timeouts import attempt_timeout_s
from sagacity_engine.saga import Saga, SubSaga
from sagacity_engine.virtual.calls import OpenAttempt, Reply, Services
from sagacity_engine.virtual.inner import InnerRuns

__all__ = ["Jitter", "Listener", "Planner", "Reply", "Services", "VirtualHost"]

Planner = Callable[[Saga, Launch], Advice]
"""Chooses the plan of one run at its launch."""

Jitter = Callable[[str, str, Direction, int], float]
"""The uniform draw in [0, 1) for the backoff after (run id, step, direction, attempt)."""

Listener = Callable[[RunState, Event], None]
"""Told of every event, with a copy of the state after it."""

Journals = MutableMapping[str, list[Event]]
"""Every run's events in order, by run id."""


class VirtualHost:
    """Runs sagas against `services` in virtual time. Same launches, services and jitter: same events.

    `journals`, if given, gains every event; it costs less than a listener, which needs copies of states.
    """

    def __init__(
        self,
        services: Services,
        jitter: Jitter,
        listener: Listener | None = None,
        journals: Journals | None = None,
    ) -> None:
        self._services = services
        self._jitter = jitter
        self._listener = listener
        self._journals = journals
        self._moments: list[tuple[float, int, Callable[[float], None]]] = []
        self._ticket = itertools.count()
        self.now = 0.0  # The moment being played, in seconds since the epoch.
        self._states: dict[str, RunState] = {}
        self._wakes: dict[str, float] = {}  # The earliest wake still booked, by run id.
        self._planners: dict[str, Planner] = {}
        self._open: dict[tuple[str, str], OpenAttempt] = {}  # The attempt in flight, by run id and step.
        self._inner = InnerRuns(self)
        self._locks = ResourceLocks()
        self._claimed: set[str] = set()  # Runs that hold or queue for resources.
        self.finished: dict[str, RunState] = {}

    def launch(
        self,
        saga: Saga,
        launch: Launch,
        planner: Planner,
        *,
        run_input: Mapping[str, Any] | None = None,
        arm: tuple[Arm, float] = (Arm.ADVISED, 1.0),
        parent: str = "",
    ) -> None:
        """Books a run for the moment `launch.at`; its plan is chosen then, not now."""

        def start(now: float) -> None:
            advice = accepted(planner(saga, launch), saga, now)
            given = run_input or {}
            started = RunStarted(
                run_id=launch.run_id,
                at=now,
                definition_hash=saga.definition_hash,
                plan=advice.plan,
                input=given,
                context=launch.context,
                arm=arm[0].value,
                propensity=arm[1],
                fallback=advice.fallback,
                advice_id=advice.advice_id,
                model_version=advice.model_version,
                locks=lock_keys(saga, given) if saga.locks else (),
                parent=parent,
            )
            state = begin(saga, started)
            self._states[launch.run_id] = state
            self._planners[launch.run_id] = planner
            told: list[tuple[RunState, Event]] = []
            machine.note(told if self._listener else None, state, started)
            self._tell(launch.run_id, [started], told)
            self._feed(launch.run_id, [], now)

        self._book(launch.at, start)

    def ask(self, at: float, run_id: str, event: Event) -> None:
        """Books what a person does at that moment; what cannot be done then is left out."""

        def act(now: float) -> None:
            state = self.find(run_id)
            if state is None or refusal(state, event):
                return
            self._states[run_id] = state
            self.finished.pop(run_id, None)
            self._feed(run_id, [event], now)

        self._book(at, act)

    def run(self) -> dict[str, RunState]:
        """Plays every booked moment to the end; the finished runs by id."""
        while self._moments:
            self.now, _, act = heapq.heappop(self._moments)
            act(self.now)
        return self.finished

    def states(self) -> dict[str, RunState]:
        """Where every run stands, those that have not ended too."""
        return {**self.finished, **self._states}

    def find(self, run_id: str) -> RunState | None:
        """Where the run stands; None when there is none."""
        return self._states.get(run_id) or self.finished.get(run_id)

    def hand_in(self, at: float, run_id: str, event: Event) -> None:
        """Books what happened to a run."""
        self._book(at, lambda now: self._feed(run_id, [event], now))

    def launch_inner(self, inner: SubSaga, inner_id: str, given: Mapping[str, Any], outer: RunState) -> None:
        """Books a part of `outer`'s run, with its planner and context, for now."""
        run_id = outer.started.run_id
        launch = Launch(run_id=inner_id, context=outer.started.context, at=self.now)
        self.launch(inner.saga, launch, self._planners[run_id], run_input=given, parent=run_id)

    def _book(self, at: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._moments, (at, next(self._ticket), act))

    def _tell(self, run_id: str, events: list[Event], told: list[tuple[RunState, Event]]) -> None:
        if self._journals is not None:
            self._journals.setdefault(run_id, []).extend(events)
        if self._listener is not None:
            for state, event in told:
                self._listener(state, event)

    def _feed(self, run_id: str, happened: list[Event], now: float) -> None:
        state = self._states.get(run_id)
        if state is None:
            return
        told: list[tuple[RunState, Event]] = []
        journal, launches = machine.advance(state, happened, now, told if self._listener else None)
        self._tell(run_id, journal, told)
        if state.ended is not None:
            self._finish(state, now)
            return
        for launched in launches:
            if isinstance(launched, AttemptStarted):
                self._begin(state, launched)
            else:
                self._call(state, self._open[run_id, launched.step], now)
        if not state.locked and run_id not in self._claimed:
            self._queue(state, now)
        if turning_back(state):
            self._inner.turn_back(run_id, now)
        self._book_wake(run_id, next_wake(state), now)

    def _queue(self, state: RunState, now: float) -> None:
        run_id = state.started.run_id
        self._claimed.add(run_id)
        if self._locks.ask(run_id, state.started.locks, lambda: self._grant(run_id, self.now)):
            self._grant(run_id, now)

    def _grant(self, run_id: str, now: float) -> None:
        def acquire(at: float) -> None:
            state = self._states.get(run_id)
            if state is not None and run_id in self._claimed and not state.locked:
                self._feed(run_id, [LocksAcquired(at=at)], at)

        self._book(now, acquire)

    def _finish(self, state: RunState, now: float) -> None:
        run_id = state.started.run_id
        self.finished[run_id] = state
        del self._states[run_id]
        self._wakes.pop(run_id, None)
        if run_id in self._claimed and state.status is not Status.NEEDS_ATTENTION:
            self._claimed.discard(run_id)
            self._locks.release(run_id)
        self._inner.ended(state, now)

    def _begin(self, state: RunState, attempt: AttemptStarted) -> None:
        if sub_saga_of(state, attempt) is not None:
            self._inner.begin(state, attempt)
            return
        opened = self._open[state.started.run_id, attempt.step] = OpenAttempt(attempt)
        self._call(state, opened, attempt.at)

    def _book_wake(self, run_id: str, wake: float | None, now: float) -> None:
        booked = self._wakes.get(run_id)
        if wake is None or (booked is not None and now < booked <= wake):
            return
        self._wakes[run_id] = wake
        self._book(max(wake, now), lambda at: self._feed(run_id, [], at))

    def _call(self, state: RunState, opened: OpenAttempt, at: float) -> None:
        attempt, run_id = opened.attempt, state.started.run_id
        reply = self._services.call(state, attempt)
        ends_by = attempt.at + attempt_timeout_s(state, attempt)
        timed_out = at + reply.duration_s > ends_by
        opened.calls += 1

        def draw() -> float:
            return self._jitter(run_id, attempt.step, attempt.direction, attempt.attempt)

        def settle(now: float) -> None:
            self._services.settled(state, attempt, now)
            outcome = opened.close(reply, timed_out=timed_out, now=now, draw=draw)
            if outcome is not None:
                self._feed(run_id, [outcome], now)

        self._book(min(at + reply.duration_s, ends_by), settle)
