"""The same machine in virtual time: thousands of runs a second, and a seed replays every one of them.

The host keeps a heap of moments. At each it feeds one run what happened, journals what the machine decides
into a list (memory is this host's journal) and asks the services how the launched attempts will go. Nothing
waits: a reply's duration only says at which later moment its event is fed. Timeouts, backoffs and deadlines
are therefore exact. Replies, jitter and launch times are all injected.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sagacity_engine import machine
from sagacity_engine.advisor import Advice, Arm, Launch, accepted
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.machine import RunState
from sagacity_engine.saga import Saga


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a participant will answer a call, `duration_s` after it was made; no error type means success."""

    duration_s: float
    error_type: str = ""
    message: str = ""
    failure_class: FailureClass = FailureClass.UNKNOWN
    output: Any = None
    lost: bool = False  # The answer never arrives as such: the caller cannot tell what happened.


class Services(Protocol):
    """The participants of virtual runs."""

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """How this attempt goes; called at the moment it starts."""
        ...

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Told when the caller stops waiting for the attempt: the reply came or the timeout fired."""
        ...


Planner = Callable[[Saga, Launch], Advice]
"""Chooses the plan of one run at its launch."""

Jitter = Callable[[str, str, Direction, int], float]
"""The uniform draw in [0, 1) for the backoff after (run id, step, direction, attempt)."""

Listener = Callable[[RunState, Event], None]
"""Told of every event, with the state after it."""


class VirtualHost:
    """Runs sagas against `services` in virtual time. Same launches, services and jitter: same events."""

    def __init__(self, services: Services, jitter: Jitter, listener: Listener | None = None) -> None:
        self._services = services
        self._jitter = jitter
        self._listener = listener
        self._moments: list[tuple[float, int, Callable[[float], None]]] = []
        self._ticket = itertools.count()
        self._states: dict[str, RunState] = {}
        self._wakes: dict[str, float] = {}  # The earliest wake still booked, by run id.
        self.finished: dict[str, RunState] = {}

    def launch(
        self,
        saga: Saga,
        launch: Launch,
        planner: Planner,
        *,
        run_input: Mapping[str, Any] | None = None,
        arm: tuple[Arm, float] = (Arm.ADVISED, 1.0),
    ) -> None:
        """Books a run for the moment `launch.at`; its plan is chosen then, not now."""

        def start(now: float) -> None:
            advice = accepted(planner(saga, launch), saga, now)
            started = RunStarted(
                run_id=launch.run_id,
                at=now,
                definition_hash=saga.definition_hash,
                plan=advice.plan,
                input=run_input or {},
                context=launch.context,
                arm=arm[0].value,
                propensity=arm[1],
                fallback=advice.fallback,
                advice_id=advice.advice_id,
                model_version=advice.model_version,
            )
            state = machine.begin(saga, started)
            self._states[launch.run_id] = state
            self._tell(state, started)
            self._feed(launch.run_id, [], now)

        self._book(launch.at, start)

    def run(self) -> dict[str, RunState]:
        """Plays every booked moment to the end; the finished runs by id."""
        while self._moments:
            at, _, act = heapq.heappop(self._moments)
            act(at)
        return self.finished

    def _book(self, at: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._moments, (at, next(self._ticket), act))

    def _tell(self, state: RunState, event: Event) -> None:
        if self._listener is not None:
            self._listener(state, event)

    def _feed(self, run_id: str, happened: list[Event], now: float) -> None:
        state = self._states.get(run_id)
        if state is None:
            return
        state, journal, launches = machine.advance(state, happened, now)
        for event in journal:
            self._tell(state, event)
        if state.ended is not None:
            self.finished[run_id] = state
            del self._states[run_id]
            self._wakes.pop(run_id, None)
            return
        self._states[run_id] = state
        for attempt in launches:
            self._call(state, attempt)
        self._book_wake(run_id, machine.next_wake(state), now)

    def _book_wake(self, run_id: str, wake: float | None, now: float) -> None:
        booked = self._wakes.get(run_id)
        if wake is None or (booked is not None and now < booked <= wake):
            return
        self._wakes[run_id] = wake
        self._book(max(wake, now), lambda at: self._feed(run_id, [], at))

    def _call(self, state: RunState, attempt: AttemptStarted) -> None:
        reply = self._services.call(state, attempt)
        timeout_s = attempt_timeout_s(state, attempt)
        timed_out = reply.duration_s > timeout_s
        ends_at = attempt.at + min(reply.duration_s, timeout_s)

        def settle(now: float) -> None:
            self._services.settled(state, attempt, now)
            self._feed(state.started.run_id, [self._outcome(state, attempt, reply, timed_out, now)], now)

        self._book(ends_at, settle)

    def _outcome(
        self, state: RunState, attempt: AttemptStarted, reply: Reply, timed_out: bool, now: float
    ) -> Event:
        step, direction, number = attempt.step, attempt.direction, attempt.attempt
        if not timed_out and not reply.lost and not reply.error_type:
            return AttemptSucceeded(
                at=now, step=step, direction=direction, attempt=number, output=reply.output
            )
        jitter = self._jitter(state.started.run_id, step, direction, number)
        if timed_out or reply.lost:
            return AttemptUnknown(
                at=now,
                step=step,
                direction=direction,
                attempt=number,
                reason=UnknownReason.TIMED_OUT if timed_out else UnknownReason.LOST_REPLY,
                jitter=jitter,
            )
        return AttemptFailed(
            at=now,
            step=step,
            direction=direction,
            attempt=number,
            error_type=reply.error_type,
            message=reply.message,
            failure_class=reply.failure_class,
            jitter=jitter,
        )


def attempt_timeout_s(state: RunState, attempt: AttemptStarted) -> float:
    """The start-to-close timeout in force for an attempt, in seconds."""
    if attempt.direction is Direction.FORWARD:
        return state.plan.by_name[attempt.step].start_to_close_timeout_s
    compensation = state.saga.by_name[attempt.step].compensation
    assert compensation is not None, "an undo of a step without a compensation was started"
    return compensation.start_to_close_timeout_s
