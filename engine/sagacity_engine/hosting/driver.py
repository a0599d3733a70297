"""One run in an asyncio loop: feeds the machine, journals what it decides, then makes the calls.

The order is the guarantee. A call is made only after the batch that holds its intent is durable. There is no
task per run: a run that waits costs a few objects, and what happens to it (an outcome, a commit, a timer, a
wish from outside) calls it. While a batch is on its way to the disk (`offer`), whatever happens is gathered
for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagacity_engine.batch import new_batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.launching import Launcher, Launching
from sagacity_engine.hosting.offer import Asked, Offer, Told
from sagacity_engine.hosting.run_time import RunTime
from sagacity_engine.journal import Journal
from sagacity_engine.machine import machine
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.owed import next_wake, turning_back
from sagacity_engine.machine.run_state import RunState

IDLE_S = 1.0
"""A run that has nothing to do for longer than this counts as waiting, not as being carried on."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all drivers of one engine share."""

    loop: asyncio.AbstractEventLoop
    journal: Journal
    clock: Callable[[], float]
    tell: Callable[[Sequence[tuple[RunState, Event]]], None] | None  # None when nobody listens.
    launching: Launching
    parked: dict[str, str]  # Why a run cannot go on for now, by run id.


class RunDriver:
    """Carries one run on until it ends or the engine closes.

    `ended` is told once: None when the run has ended or the engine closed, or why it cannot go on.
    `active` is told whenever the run turns from waiting to being carried on, or back.
    """

    __slots__ = (
        "_active",
        "_asked",
        "_closing",
        "_ended",
        "_happened",
        "_launcher",
        "_offer",
        "_on_active",
        "_resumed",
        "_time",
        "_timer",
        "_waiting",
        "bound",
        "now",
        "run_id",
        "seq",
        "services",
        "state",
        "stopped",
    )

    def __init__(
        self,
        services: Services,
        bound: BoundSaga,
        state: RunState,
        seq: int,
        last_at: float,
        *,
        ended: Callable[[Exception | None], None],
        active: Callable[[bool], None],
    ) -> None:
        self.run_id = state.started.run_id
        self.state = state
        self.bound = bound
        self.services = services
        self.seq = seq  # How many of its events are durable.
        self.stopped = False
        self._time = RunTime(services.clock, last_at)
        self.now = self._time.now  # The run's time, in seconds since the epoch.
        self._ended = ended
        self._on_active = active
        self._active = True
        self._happened: list[Event] = []
        self._asked: list[Asked] = []
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False
        self._resumed = False  # While a batch was on its way: what was held back is still to be done.
        self._offer: Offer | None = None  # The batch that is not durable yet.
        self._closing = False
        self._launcher = Launcher(services.launching, self)

    def begin(self, first: Sequence[Event], settle: Callable[[JournalRefused | None], None]) -> None:
        """Submits the start of a new run; `settle` is told whether it is durable, before any call is made."""
        started = self.state.started
        told: Told = None if self.services.tell is None else [(self.state.copy(), started)]
        events, launches = machine.advance(self.state, first, started.at, told)
        offer = self._offer = Offer(self, (started, *events), launches, told)

        def settled(problem: JournalRefused | None) -> None:
            if problem is None:
                settle(None)
                self.durable(offer)
            else:
                self.stopped = True
                settle(problem)

        self.services.journal.submit(new_batch(self.run_id, 1, offer.events), settled)

    def wait(self) -> None:
        """Journals what is handed in before `resume`, and starts no attempt.

        So what is in flight then was left by a former process, and nothing of it was started here.
        """
        self._waiting = True

    def resume(self) -> None:
        """Carries on a run that the journal has; what a former process left in flight is uncertain."""
        self._waiting = False
        self._active = True  # It has been given its place.
        self._happened.extend(self._launcher.recovered())
        self._resumed = self._offer is not None
        self._step()

    def put(self, event: Event, now: float | None = None) -> None:
        """Hands in something that happened; `now` is the run's time, of whoever has just asked for it."""
        self._happened.append(event)
        if self._offer is None:
            self._step(now)

    def ask(self, make: Callable[[float], Event]) -> asyncio.Future[str]:
        """Hands in what somebody wants: done with "" when it is durable, with words when it is refused.

        The future is cancelled when the run stops before either.
        """
        answer: asyncio.Future[str] = self.services.loop.create_future()
        if self.stopped:
            answer.cancel()
        else:
            self._asked.append((make(self.now()), answer))
            if self._offer is None:
                self._step()
        return answer

    def close(self) -> None:
        """Starts no more attempts; what is still to be journaled is."""
        self._closing = True
        self._launcher.stop_waiting()
        if self._offer is None and not self.stopped:
            self._rest()

    def abandon(self) -> None:
        """Stops at once; the next opening carries the run on from what is durable."""
        self._stop(None)

    def _step(self, now: float | None = None) -> None:
        """Folds in what happened, and submits what follows from it."""
        if self.stopped or self._offer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        happened, self._happened = self._happened, []
        told: Told = None if self.services.tell is None else []
        asked: Sequence[Asked] = ()
        if self._asked:
            asked, self._asked = self._asked, []
        try:
            events, launches = self._advance(happened, told, self.now() if now is None else now)
            accepted = self._accepted(asked, events, launches, told) if asked else ()
            if not events:
                self._rest()
                return
            if not self._active:
                self._be_active(True)
            self._offer = Offer(self, events, launches, told, accepted)
            self._offer.submit()
        except Exception as problem:  # noqa: BLE001  a run that cannot go on must not take the loop with it
            self._asked += asked
            self._stop(problem)

    def _advance(
        self, happened: list[Event], told: Told, now: float
    ) -> tuple[list[Event], list[machine.Launch]]:
        now = self._time.in_order(happened, now)
        if not (self._closing or self._waiting):
            return machine.advance(self.state, happened, now, told)
        # An attempt that will not be called must not be journaled: then only what happened is.
        tried, seen = self.state.copy(), None if told is None else list(told)
        events, launches = machine.advance(tried, happened, now, seen)
        if launches:
            tried, seen, events, launches = self.state, told, happened, []
            for event in happened:
                machine.fold(tried, event)
                machine.note(seen, tried, event)
        self.state = tried
        if told is not None and seen is not None:
            told[:] = seen
        return events, launches

    def _accepted(
        self, asked: Sequence[Asked], events: list[Event], launches: list[machine.Launch], told: Told
    ) -> list[Asked]:
        """What of it can be done now; what follows from that is added to the lists."""
        accepted: list[Asked] = []
        for event, answer in asked:
            if why := refusal(self.state, event):
                if not answer.done():
                    answer.set_result(why)
            else:
                more, calls = self._advance([event], told, self.now())
                events += more
                launches += calls
                accepted.append((event, answer))
        return accepted

    def refused(self, offer: Offer, problem: Exception) -> None:
        """The journal will never take the batch: the run goes no further here."""
        offer.cancel()
        self._offer = None
        self._stop(problem)

    def durable(self, offer: Offer) -> None:
        """The batch is on the disk: tells whom it concerns, makes the calls, and goes on."""
        self.seq += len(offer.events)
        if self.services.tell is not None and offer.told:
            self.services.tell(offer.told)
        for _, answer in offer.accepted:
            if not answer.done():
                answer.set_result("")
        if self.stopped:
            return
        if not self._closing:  # Else durable but never called: found in flight by whoever opens next.
            for launch in offer.launches:  # What one of them leads to at once waits until all are made.
                self._launcher.launch(launch)
        if turning_back(self.state):
            self._launcher.turn_back()
        self._offer = None
        if self._happened or self._asked or self._resumed:
            self._resumed = False
            self._step()
        else:
            self._rest()

    def _rest(self) -> None:
        """Nothing is to be done now: the run has ended, stops with the engine, or waits."""
        if self.state.ended is not None or (self._closing and not self._launcher.is_busy):
            self._stop(None)
            return
        if self._closing or self._waiting:
            return
        active = self._launcher.is_busy
        wake = next_wake(self.state)
        if wake is not None:
            wait_s = max(0.0, wake - self.now())
            self._timer = self.services.loop.call_later(wait_s, self._step)
            active = active or wait_s < IDLE_S
        if active is not self._active:
            self._be_active(active)

    def _be_active(self, active: bool) -> None:
        self._active = active
        self._on_active(active)

    def _stop(self, problem: Exception | None) -> None:
        """The run goes no further here; nobody waits for ever."""
        if self.stopped:
            return
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._launcher.abandon()
        for _, answer in self._asked:
            answer.cancel()
        self._asked.clear()
        if self._offer is not None and self._offer.parked:
            self._offer.cancel()
        ended = self._ended
        # Nothing of a run that is over may hold on to it in a circle: it goes without the collector.
        del self._launcher, self._ended, self._on_active
        ended(problem)
