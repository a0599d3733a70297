"""Calling the functions behind steps, and saying in one event how each call went.

An attempt begins when its intent is durable and ends exactly once: with what the function did, or when its
start-to-close timeout fires, whichever comes first. An `async` function runs in the loop and is cancelled at
its timeout; a plain one runs in a bounded pool of threads, where nothing can stop it: it goes on unheeded,
which is why only idempotent steps are tried again. A plain function that had found no thread when its timeout
fired was provably never called, so that attempt failed rather than became uncertain.

What a function raises decides the outcome (see `handlers`). Any exception that is not ours is a bug in the
function or below it: the effect may have happened, so the outcome is unknown and the exception's type is
kept.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sagacity_engine.errors import FailureClass, OutcomeUnknown, StepError
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    UnknownReason,
)
from sagacity_engine.handlers import OUTPUT_BYTES_MAX, Action, Call

MESSAGE_MAX = 1_000
"""The most characters of an error's message that the journal keeps."""

DEPTH_MAX = 100
"""The deepest nesting of an input or an output, so that it can be read wherever it could be written."""

NEVER_CALLED = "NoFreeThread"
"""The error type of an attempt whose timeout fired while its plain function waited for a thread."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every attempt of one engine shares. `now` is in seconds since the epoch, `draw` in [0, 1)."""

    threads: ThreadPoolExecutor
    draw: Callable[[], float]
    open: set[Attempt]  # The attempts whose end nobody has been told.


class Attempt:
    """One call in flight. `settle` is told its end, once; never after `abandon`."""

    def __init__(
        self,
        *,
        around: Surroundings,
        started: AttemptStarted,
        action: Action,
        call: Call,
        now: Callable[[], float],
        settle: Callable[[Event], None],
    ) -> None:
        self._around = around
        self._started = started
        self._action = action
        self._call = call
        self._now = now
        self._settle = settle
        self._called = False
        self._ended = False
        self._future: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def launch(self) -> None:
        """Makes the call; returns at once."""
        loop = asyncio.get_running_loop()
        self._around.open.add(self)
        self._timer = loop.call_later(self._call.timeout_s, self._time_out)
        if is_async(self._action):
            self._called = True
            self._watch(loop.create_task(self._run_async()))
        else:
            self._watch(loop.run_in_executor(self._around.threads, self._run))

    def abandon(self) -> None:
        """Stops waiting and tells nobody: whoever reads the journal next finds the attempt in flight."""
        self._end()
        if self._future is not None:
            self._future.cancel()

    async def _run_async(self) -> Any:
        return await self._action(self._call)

    def _run(self) -> Any:
        self._called = True
        return self._action(self._call)

    def _watch(self, future: asyncio.Future[Any]) -> None:
        self._future = future
        future.add_done_callback(self._returned)

    def _returned(self, future: asyncio.Future[Any]) -> None:
        problem = None if future.cancelled() else future.exception()
        if self._ended:
            return
        if not future.cancelled() and problem is None and inspect.isawaitable(future.result()):
            self._watch(
                asyncio.ensure_future(future.result())
            )  # A plain function that handed out a coroutine.
            return
        self._end()
        if future.cancelled():
            self._settle(self._unknown(UnknownReason.LOST_REPLY, "CancelledError"))
        elif problem is not None:
            self._settle(self._raised(problem))
        else:
            self._settle(self._succeeded(future.result()))

    def _time_out(self) -> None:
        if self._ended:
            return
        self._end()
        assert self._future is not None, "the timer was set before the call was made"
        self._future.cancel()
        if self._called:
            waited = f"no reply within {self._call.timeout_s:g} s"
            self._settle(self._unknown(UnknownReason.TIMED_OUT, waited))
        else:
            full = f"no thread was free within {self._call.timeout_s:g} s; the function was not called"
            self._settle(self._failed(NEVER_CALLED, full, FailureClass.CASCADING))

    def _end(self) -> None:
        self._ended = True
        self._around.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _raised(self, problem: BaseException) -> Event:
        if isinstance(problem, StepError):
            return self._failed(str(problem.error_type), problem.message, problem.failure_class)
        if isinstance(problem, OutcomeUnknown):
            return self._unknown(UnknownReason.LOST_REPLY, str(problem))
        return self._unknown(UnknownReason.LOST_REPLY, type(problem).__name__)

    def _succeeded(self, output: Any) -> Event:
        try:
            output = journaled(output)
        except (TypeError, ValueError, RecursionError) as problem:
            return self._unknown(UnknownReason.LOST_REPLY, f"the output cannot be kept: {problem}")
        if self._started.direction is Direction.UNDO:
            output = None  # What an undo returns is nobody's input.
        return AttemptSucceeded(
            at=self._now(),
            step=self._started.step,
            direction=self._started.direction,
            attempt=self._started.attempt,
            output=output,
        )

    def _failed(self, error_type: str, message: str, failure_class: FailureClass | str) -> Event:
        known = failure_class in tuple(FailureClass)
        return AttemptFailed(
            at=self._now(),
            step=self._started.step,
            direction=self._started.direction,
            attempt=self._started.attempt,
            error_type=error_type[:MESSAGE_MAX],
            message=str(message)[:MESSAGE_MAX],
            failure_class=FailureClass(failure_class) if known else FailureClass.UNKNOWN,
            jitter=self._around.draw(),
        )

    def _unknown(self, reason: UnknownReason, message: str) -> Event:
        return AttemptUnknown(
            at=self._now(),
            step=self._started.step,
            direction=self._started.direction,
            attempt=self._started.attempt,
            reason=reason,
            message=message[:MESSAGE_MAX],
            jitter=self._around.draw(),
        )


def is_async(action: Action) -> bool:
    """Whether calling the action only makes a coroutine."""
    return inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(type(action).__call__)


def journaled(value: Any) -> Any:
    """The value as the journal will give it back; raises `TypeError` or `ValueError` when it cannot be kept.

    >>> journaled({"seats": (1, 2)})
    {'seats': [1, 2]}
    """
    if value is None or isinstance(value, bool):
        return value
    text = json.dumps(value, allow_nan=False)
    if text.count("[") + text.count("{") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep")
    if len(text) > OUTPUT_BYTES_MAX:
        raise ValueError(f"{len(text)} bytes of JSON; the most is {OUTPUT_BYTES_MAX}")
    return json.loads(text)


def _depth(value: Any) -> int:
    """How deep lists and mappings are nested, without recursion."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, list | tuple | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
