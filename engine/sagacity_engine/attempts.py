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
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import AttemptStarted, AttemptSucceeded, AttemptUnknown, Event, UnknownReason
from sagacity_engine.handlers import Action, Call
from sagacity_engine.outcomes import Outcomes

NEVER_CALLED = "NoFreeThread"
"""The error type of an attempt whose timeout fired while its plain function waited for a thread."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every attempt of one engine shares. `draw` gives uniform numbers in [0, 1)."""

    loop: asyncio.AbstractEventLoop
    threads: ThreadPoolExecutor
    draw: Callable[[], float]
    open: set[Attempt]  # The attempts whose end nobody has been told.
    kinds: dict[int, bool] = field(default_factory=dict)  # Whether an action is `async`, by its identity.

    def is_async(self, action: Action) -> bool:
        """Whether calling the action only makes a coroutine; looked up once per action."""
        known = self.kinds.get(id(action))
        if known is None:
            known = self.kinds[id(action)] = is_async(action)
        return known


class Attempt:
    """One attempt in flight. `settle` is told its end, once; never after `abandon`.

    `schedule_to_start_s` limits the wait for a thread, `heartbeat_s` the silence of a call that goes on.
    """

    __slots__ = (
        "_action",
        "_around",
        "_beat_at",
        "_call",
        "_called",
        "_calls",
        "_ended",
        "_heartbeat_s",
        "_now",
        "_pulse",
        "_settle",
        "_starter",
        "_timer",
        "_unknown",
        "started",
    )

    def __init__(
        self,
        around: Surroundings,
        started: AttemptStarted,
        action: Action,
        call: Call,
        now: Callable[[], float],
        settle: Callable[[Attempt, Event], None],
        *,
        schedule_to_start_s: float | None = None,
        heartbeat_s: float | None = None,
    ) -> None:
        self.started = started
        self._around = around
        self._action = action
        self._call = call
        self._now = now
        self._settle = settle
        self._heartbeat_s = heartbeat_s
        self._called = False
        self._ended = False
        self._unknown: Event | None = None
        self._calls: list[asyncio.Future[Any]] = []
        self._beat_at = 0.0
        self._pulse: asyncio.TimerHandle | None = None
        self._starter: asyncio.TimerHandle | None = None
        loop = around.loop
        around.open.add(self)
        self._timer = loop.call_later(call.timeout_s, self._time_out)
        if heartbeat_s is not None:
            self._beat_at = loop.time()
            object.__setattr__(call, "heartbeat", self._beat)
            self._pulse = loop.call_later(heartbeat_s, self._listen)
        self._make_call()
        if schedule_to_start_s is not None and not self._called and not self._ended:
            self._starter = loop.call_later(schedule_to_start_s, self._start_late)

    def hedge(self) -> None:
        """Makes a second call beside the first, unless the attempt has ended."""
        if not self._ended:
            self._make_call()

    @property
    def ended(self) -> bool:
        """Whether its end has been told, or never will be."""
        return self._ended

    def abandon(self) -> None:
        """Stops waiting and tells nobody: whoever reads the journal next finds the attempt in flight."""
        self._end()

    def _make_call(self) -> None:
        if self._around.is_async(self._action):
            self._called = True
            self._watch(_task(self._around.loop, _awaited(self._action, self._call)))
        else:
            self._watch(self._around.loop.run_in_executor(self._around.threads, self._run))

    def _run(self) -> Any:
        self._called = True
        self._beat_at = self._around.loop.time()
        return self._action(self._call)

    def _watch(self, future: asyncio.Future[Any]) -> None:
        if future.done():
            self._returned(future)
            return
        self._calls.append(future)
        future.add_done_callback(self._returned)

    def _returned(self, future: asyncio.Future[Any]) -> None:
        if future in self._calls:
            self._calls.remove(future)
        problem = None if future.cancelled() else future.exception()
        if self._ended:
            return
        if problem is None and not future.cancelled() and inspect.isawaitable(future.result()):
            # A plain function that handed out a coroutine.
            self._watch(asyncio.ensure_future(future.result()))
            return
        outcomes = self._outcomes()
        if future.cancelled():
            outcome = outcomes.unknown(UnknownReason.LOST_REPLY, "CancelledError")
        elif problem is not None:
            outcome = outcomes.raised(problem)
        else:
            outcome = outcomes.returned(future.result())
        self._call_ended(outcome)

    def _call_ended(self, outcome: Event) -> None:
        if isinstance(outcome, AttemptUnknown):
            self._unknown = outcome
        if self._calls and not isinstance(outcome, AttemptSucceeded):
            return  # The other call may still do better.
        if not isinstance(outcome, AttemptSucceeded):
            outcome = self._unknown or outcome
        self._end()
        self._settle(self, outcome)

    def _time_out(self) -> None:
        waited = f"no reply within {self._call.timeout_s:g} s"
        self._cut_off(self._call.timeout_s, UnknownReason.TIMED_OUT, waited)

    def _start_late(self) -> None:
        if not self._called:
            waited_s = self._around.loop.time() - (self._timer.when() - self._call.timeout_s)
            self._cut_off(waited_s, UnknownReason.TIMED_OUT, "")

    def _cut_off(self, waited_s: float, reason: UnknownReason, words: str) -> None:
        if self._ended:
            return
        called = self._called
        self._end()
        outcomes = self._outcomes()
        if called:
            self._settle(self, outcomes.unknown(reason, words))
        else:
            full = f"no thread was free within {waited_s:.3g} s; the function was not called"
            self._settle(self, outcomes.failed(NEVER_CALLED, full, FailureClass.CASCADING))

    def _beat(self) -> None:
        """The call says that it is alive; from whatever thread it runs in."""
        self._beat_at = self._around.loop.time()

    def _listen(self) -> None:
        if self._ended or self._heartbeat_s is None:
            return
        silent_s = self._around.loop.time() - self._beat_at
        if self._called and silent_s >= self._heartbeat_s:
            words = f"no heartbeat within {self._heartbeat_s:g} s"
            self._cut_off(silent_s, UnknownReason.HEARTBEAT_LOST, words)
            return
        again_s = self._heartbeat_s - (silent_s if self._called else 0.0)
        self._pulse = self._around.loop.call_later(again_s, self._listen)

    def _outcomes(self) -> Outcomes:
        return Outcomes(self.started, self._now(), self._around.draw)

    def _end(self) -> None:
        self._ended = True
        self._around.open.discard(self)
        for timer in (self._timer, self._pulse, self._starter):
            if timer is not None:
                timer.cancel()
        for future in self._calls:
            future.cancel()
        self._calls = []


async def _awaited(action: Action, call: Call) -> Any:
    return await action(call)


if sys.version_info >= (3, 12):

    def _task(loop: asyncio.AbstractEventLoop, made: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that has run as far as it goes without waiting."""
        return asyncio.Task(made, loop=loop, eager_start=True)

else:

    def _task(loop: asyncio.AbstractEventLoop, made: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return loop.create_task(made)


def is_async(action: Action) -> bool:
    """Whether calling the action only makes a coroutine."""
    if isinstance(action, partial):
        action = action.func
    return inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(type(action).__call__)
