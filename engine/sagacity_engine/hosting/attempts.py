"""Calling the functions behind steps, and saying in one event how each call went.

An attempt begins when its intent is durable and ends exactly once: with what the function did, or when a
timeout fires, whichever comes first. An `async` function runs in the loop and is cancelled at its timeout; a
plain one runs in a bounded pool of threads, where nothing can stop it: it goes on unheeded, which is why only
idempotent steps are tried again. A plain function that had found no thread when its timeout fired was
provably never called, so that attempt failed rather than became uncertain.

A hedged attempt has a second call beside the first. The first success ends it; failures wait for the other
call; and where one of the two cannot tell, the attempt cannot either. What a function's end means is decided
in `outcomes`.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    UnknownReason,
    attempt_succeeded,
)
from sagacity_engine.guards.service_guards import ServiceGuard
from sagacity_engine.handlers import Action, Call
from sagacity_engine.hosting.deadlines import Deadlines, Held
from sagacity_engine.hosting.outcomes import Outcomes

NEVER_CALLED = "NoFreeThread"
"""The error type of an attempt whose timeout fired while its plain function waited for a thread."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every attempt of one engine shares. `draw` gives uniform numbers in [0, 1)."""

    loop: asyncio.AbstractEventLoop
    threads: ThreadPoolExecutor
    draw: Callable[[], float]
    deadlines: Deadlines


class Owner(Protocol):
    """Whose attempt it is."""

    @property
    def now(self) -> Callable[[], float]:
        """Gives the run's time, in seconds since the epoch."""
        ...

    def settle(self, attempt: Attempt, outcome: Event) -> None:
        """The attempt ended."""
        ...


class Attempt:
    """One attempt in flight, begun by `begin`. Its owner is told its end, once; never after `abandon`."""

    __slots__ = (
        "_action",
        "_around",
        "_beat_at",
        "_call",
        "_called",
        "_deadline",
        "_first",
        "_heartbeat_s",
        "_is_async",
        "_owner",
        "_pending",
        "_second",
        "_timers",
        "_unknown",
        "ended",
        "guard",
        "started",
    )

    def __init__(
        self,
        around: Surroundings,
        started: AttemptStarted,
        function: tuple[Action, bool],  # With whether calling it only makes a coroutine.
        call: Call,
        owner: Owner,
        *,
        guard: ServiceGuard | None = None,
    ) -> None:
        self.started = started
        self.guard = guard  # Whoever let it pass, and wants to hear how it went.
        self.ended = False  # Its end has been told, or never will be.
        self._around = around
        self._action, self._is_async = function
        self._call = call
        self._owner = owner
        self._called = False
        self._unknown: Event | None = None
        self._first: asyncio.Future[Any] | None = None  # Its calls that have not ended.
        self._second: asyncio.Future[Any] | None = None
        self._pending = 0
        self._heartbeat_s = 0.0
        self._beat_at = 0.0
        self._timers: Sequence[asyncio.TimerHandle] = ()
        self._deadline: Held | None = None

    def begin(self, schedule_to_start_s: float | None = None, heartbeat_s: float | None = None) -> None:
        """Makes the call.

        `schedule_to_start_s` limits the wait for a thread, `heartbeat_s` the silence of a call that goes on.
        """
        self._deadline = self._around.deadlines.add(self._call.timeout_s, self)
        if heartbeat_s is not None:
            self._hear(heartbeat_s)
        self._make_call()
        if schedule_to_start_s is not None and not self._called and not self.ended:
            late = self._around.loop.call_later(schedule_to_start_s, self._start_late, schedule_to_start_s)
            self._timers = (*self._timers, late)

    def hedge(self) -> None:
        """Makes a second call beside the first, unless the attempt has ended."""
        if not self.ended:
            self._make_call(second=True)

    def abandon(self) -> None:
        """Stops waiting and tells nobody: whoever reads the journal next finds the attempt in flight."""
        self._end()

    def time_out(self) -> None:
        """The start-to-close timeout is over."""
        self._cut_off(
            self._call.timeout_s, UnknownReason.TIMED_OUT, f"no reply within {self._call.timeout_s:g} s"
        )

    def _make_call(self, *, second: bool = False) -> None:
        self._pending += 1
        call: asyncio.Future[Any]
        if self._is_async:
            self._called = True
            call = _task(self._around.loop, self._carry_out(second), name=self.started.step)
        else:
            call = self._around.loop.run_in_executor(self._around.threads, self._run)
            call.add_done_callback(partial(self._returned, second))
        self._keep(second, call)

    def _keep(self, second: bool, call: asyncio.Future[Any] | None) -> None:
        if second:
            self._second = call
        else:
            self._first = call

    async def _carry_out(self, second: bool) -> None:
        """Calls an `async` function; how it went is told from here, without another turn of the loop."""
        try:
            output = await self._action(self._call)
        except asyncio.CancelledError:
            if self.ended:
                raise
            self._call_ended(second, self._outcomes().unknown(UnknownReason.LOST_REPLY, "CancelledError"))
        except Exception as problem:  # noqa: BLE001  whatever it is, it is the step's outcome
            if not self.ended:
                self._call_ended(second, self._outcomes().raised(problem))
        else:
            if not self.ended:
                self._call_ended(second, self._outcome(output))

    def _run(self) -> Any:
        self._called = True
        self._beat_at = self._around.loop.time()
        return self._action(self._call)

    def _returned(self, second: bool, future: asyncio.Future[Any]) -> None:
        """A plain function is over, in whatever way."""
        problem = None if future.cancelled() else future.exception()
        if self.ended:
            return
        if future.cancelled():
            self._call_ended(second, self._outcomes().unknown(UnknownReason.LOST_REPLY, "CancelledError"))
        elif problem is not None:
            self._call_ended(second, self._outcomes().raised(problem))
        elif inspect.isawaitable(future.result()):  # It handed out a coroutine.
            waited = asyncio.ensure_future(future.result(), loop=self._around.loop)
            waited.add_done_callback(partial(self._returned, second))
            self._keep(second, waited)
        else:
            self._call_ended(second, self._outcome(future.result()))

    def _outcome(self, output: Any) -> Event:
        """What a function that returned means; most return nothing, and succeeded."""
        started = self.started
        if output is not None or started.direction is Direction.PROBE:
            return self._outcomes().returned(output)
        return attempt_succeeded(
            at=self._owner.now(),
            step=started.step,
            direction=started.direction,
            attempt=started.attempt,
        )

    def _call_ended(self, second: bool, outcome: Event) -> None:
        self._keep(second, None)
        self._pending -= 1
        if not isinstance(outcome, AttemptSucceeded):
            if isinstance(outcome, AttemptUnknown):
                self._unknown = outcome
            if self._pending:
                return  # The other call may still do better.
            outcome = self._unknown or outcome
        self._end()
        self._owner.settle(self, outcome)

    def _start_late(self, waited_s: float) -> None:
        if not self._called:
            self._cut_off(waited_s, UnknownReason.TIMED_OUT, "")

    def _cut_off(self, waited_s: float, reason: UnknownReason, words: str) -> None:
        if self.ended:
            return
        called = self._called
        self._end()
        if called:
            self._owner.settle(self, self._outcomes().unknown(reason, words))
        else:
            full = f"no thread was free within {waited_s:g} s; the function was not called"
            self._owner.settle(self, self._outcomes().failed(NEVER_CALLED, full, FailureClass.CASCADING))

    def _hear(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._call = replace(self._call, heartbeat=self._beat)
        self._beat_at = self._around.loop.time()
        self._timers = (self._around.loop.call_later(heartbeat_s, self._listen),)

    def _beat(self) -> None:
        """The call says that it is alive; from whatever thread it runs in."""
        self._beat_at = self._around.loop.time()

    def _listen(self) -> None:
        if self.ended:
            return
        silent_s = self._around.loop.time() - self._beat_at if self._called else 0.0
        if silent_s >= self._heartbeat_s:
            words = f"no heartbeat within {self._heartbeat_s:g} s"
            self._cut_off(silent_s, UnknownReason.HEARTBEAT_LOST, words)
        else:
            self._timers = (self._around.loop.call_later(self._heartbeat_s - silent_s, self._listen),)

    def _outcomes(self) -> Outcomes:
        return Outcomes(self.started, self._owner.now(), self._around.draw)

    def _end(self) -> None:
        self.ended = True
        if self._deadline is not None:
            self._around.deadlines.drop(self._deadline, self)
        for timer in self._timers:
            timer.cancel()
        if self._pending:
            for call in (self._first, self._second):
                if call is not None:
                    call.cancel()


Made = Coroutine[Any, Any, None]

if sys.version_info >= (3, 12):

    def _task(loop: asyncio.AbstractEventLoop, made: Made, name: str) -> asyncio.Task[None]:
        """A task that has run as far as it goes without waiting."""
        return asyncio.Task(made, loop=loop, name=name, eager_start=True)

else:

    def _task(loop: asyncio.AbstractEventLoop, made: Made, name: str) -> asyncio.Task[None]:
        return loop.create_task(made, name=name)
