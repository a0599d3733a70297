"""One run in an asyncio loop: feeds the machine, journals what it decides, then makes the calls.

The order is the guarantee. A call is made only after the batch that holds its `AttemptStarted` is durable,
and the state in memory moves only with the journal. When the journal cannot take a batch the run is parked:
the same batch is offered again until it is taken, nothing is called meanwhile, and outcomes that arrive
wait.

A run's time never goes backwards: one that was begun under a clock ahead of ours, or whose clock is set
back under it, keeps the lead it had and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagacity_engine import machine
from sagacity_engine.attempts import Attempt, Surroundings
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import AttemptStarted, AttemptUnknown, Direction, Event, UnknownReason
from sagacity_engine.handlers import BoundSaga, Call, idempotency_key
from sagacity_engine.journal import Entry, Journal, JournalConflict
from sagacity_engine.machine import RunState
from sagacity_engine.virtual import attempt_timeout_s

_LOG = logging.getLogger("sagacity_engine")

PARKED_S = (0.1, 5.0)
"""The first and the longest wait before a batch that the journal refused is offered again, in seconds."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all drivers of one engine share."""

    journal: Journal
    clock: Callable[[], float]
    tell: Callable[[RunState, Event], None] | None  # None when nobody listens.
    around: Surroundings
    parked: dict[str, str]  # Why a run cannot go on for now, by run id.


class RunDriver:
    """Carries one run on until it ends or the engine closes."""

    def __init__(
        self, services: Services, bound: BoundSaga, state: RunState, seq: int, last_at: float
    ) -> None:
        self.state = state
        self._services = services
        self._bound = bound
        self._seq = seq
        self._last_at = last_at
        self._lead_s = 0.0
        self._inbox: list[Event] = []
        self._told: list[asyncio.Future[None]] = []
        self._bell: asyncio.Future[None] | None = None
        self._in_flight = 0
        self._closing = False
        self._stopped = False

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.state.started.run_id

    def now(self) -> float:
        """The run's time, in seconds since the epoch."""
        at = self._services.clock() + self._lead_s
        if at < self._last_at:
            self._lead_s += self._last_at - at
            at = self._last_at
        self._last_at = at
        return at

    async def begin(self) -> list[AttemptStarted]:
        """Journals the start of a new run; raises `JournalRefused`. The calls are for `drive` to make."""
        started = self.state.started
        state, events, launches = machine.advance(self.state, [], self.now())
        await self._services.journal.append(self._entries([started, *events]))
        self._seq += 1
        if self._services.tell is not None:
            self._services.tell(self.state, started)
        self._durable(state, events)
        return launches

    async def drive(self, launches: Sequence[AttemptStarted]) -> None:
        """Makes these calls and carries the run to its end, or to where it stands when `close` is called."""
        self._launch(launches)
        if not launches and not self._closing:
            await self._step()  # A run that was recovered may owe something that no event announces.
        while self.state.ended is None:
            if not self._inbox:
                if self._closing and not self._in_flight:
                    return
                await self._rung()
            if self._inbox or not self._closing:
                await self._step()

    def recover(self) -> None:
        """Declares the calls that a former process left behind uncertain."""
        for attempt in machine.in_flight(self.state):
            self._inbox.append(
                AttemptUnknown(
                    at=self.now(),
                    step=attempt.step,
                    direction=attempt.direction,
                    attempt=attempt.attempt,
                    reason=UnknownReason.CRASHED,
                    message="the engine stopped while the attempt was in flight",
                    jitter=self._services.around.draw(),
                )
            )

    def put(self, event: Event) -> None:
        """Hands in something that happened."""
        self._inbox.append(event)
        self._ring()

    async def put_and_wait(self, make: Callable[[float], Event]) -> bool:
        """Hands in an event and waits until it is durable; False when the run ended or stopped before it."""
        if self.state.ended is not None or self._stopped:
            return False
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told.append(durable)
        event = make(self.now())
        self.put(event)
        await asyncio.wait([durable])
        return not durable.cancelled()

    def close(self) -> None:
        """Starts no more attempts; what is still to be journaled is."""
        self._closing = True
        self._ring()

    def stop_waiting(self) -> None:
        """Lets everybody go who waits for an event that will not be journaled any more."""
        self._stopped = True
        for durable in self._told:
            durable.cancel()
        self._told.clear()

    async def _step(self) -> None:
        happened, self._inbox = self._inbox, []
        told, self._told = self._told, []
        state, events, launches = machine.advance(self.state, happened, self._moment(happened))
        if self._closing and launches:
            # An attempt that will not be called must not be journaled: only what happened is.
            state, events, launches = self.state, happened, []
            for event in events:
                state = machine.apply(state, event)
        try:
            await self._keep(events)
        except BaseException:
            self._told = told
            raise
        self._durable(state, events)
        for durable in told:
            if not durable.done():
                durable.set_result(None)
        self._launch(launches)

    def _moment(self, happened: Sequence[Event]) -> float:
        return max([self.now(), *(event.at for event in happened)])

    async def _keep(self, events: Sequence[Event]) -> None:
        """Returns when the events are durable, however long that takes."""
        if not events:
            return
        wait_s, longest_s = PARKED_S
        entries = self._entries(events)
        while True:
            try:
                await self._services.journal.append(entries)
            except JournalConflict:
                raise
            except JournalRefused as refusal:
                if not self._services.parked:
                    _LOG.error("run %s waits for its journal: %s", self.run_id, refusal)
                self._services.parked[self.run_id] = str(refusal)
                await asyncio.sleep(wait_s)
                wait_s = min(longest_s, 2 * wait_s)
            else:
                self._services.parked.pop(self.run_id, None)
                return

    def _entries(self, events: Sequence[Event]) -> list[Entry]:
        return [Entry(self.run_id, self._seq + place, event) for place, event in enumerate(events, start=1)]

    def _durable(self, state: RunState, events: Sequence[Event]) -> None:
        """Moves on to `state`, telling the listeners the state after each event."""
        self._seq += len(events)
        if self._services.tell is not None:
            between = self.state
            for event in events:
                between = machine.apply(between, event)
                self._services.tell(between, event)
        self.state = state

    def _launch(self, launches: Sequence[AttemptStarted]) -> None:
        for started in launches:
            if self._closing:
                return  # Durable but never called: found in flight by whoever opens the journal next.
            handler = self._bound.handlers[started.step]
            action = handler.action if started.direction is Direction.FORWARD else handler.compensation
            assert action is not None, "a bound saga has a function for every compensation"
            self._in_flight += 1
            call = self._call(started)
            Attempt(
                around=self._services.around,
                started=started,
                action=action,
                call=call,
                now=self.now,
                settle=self._settled,
            ).launch()

    def _settled(self, outcome: Event) -> None:
        self._in_flight -= 1
        self.put(outcome)

    def _call(self, started: AttemptStarted) -> Call:
        run = self.state.started
        undo = started.direction is Direction.UNDO
        return Call(
            run_id=run.run_id,
            saga=self.state.saga.name,
            step=started.step,
            direction=started.direction,
            attempt=started.attempt,
            idempotency_key=idempotency_key(run.run_id, started.step, started.direction),
            input=run.input,
            outputs=self.state.outputs,
            context=run.context,
            timeout_s=attempt_timeout_s(self.state, started),
            deadline_at=self.state.deadline_at,
            effect_known=not undo or started.step in self.state.outputs,
        )

    async def _rung(self) -> None:
        """Returns when something happened, or the machine has something to do by itself."""
        loop = asyncio.get_running_loop()
        self._bell = loop.create_future()
        wake = None if self._closing else machine.next_wake(self.state)
        timer = None if wake is None else loop.call_later(max(0.0, wake - self.now()), self._ring)
        try:
            await self._bell
        finally:
            self._bell = None
            if timer is not None:
                timer.cancel()

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)
