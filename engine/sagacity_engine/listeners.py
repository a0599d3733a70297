"""Telling others what happened, without ever waiting for them.

Listeners are called in one thread of their own, in the order of each run's events, after the event is
durable. A listener that raises is counted and logged once; one that is slow fills a bounded queue, and what
finds no room is dropped and counted. The journal has it all in any case.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from sagacity_engine.events import Event
from sagacity_engine.machine.run_state import RunState

_LOG = logging.getLogger("sagacity_engine")

QUEUE_MAX = 50_000
"""The most batches of events that may wait for slow listeners."""

Listener = Callable[[RunState, Event], None]
"""Told of every durable event, with the state after it."""

Told = Sequence[tuple[RunState, Event]]
"""Events of one run that became durable together, each with the state after it."""

_Queue = queue.Queue[Told | None]


class Listeners:
    """The listeners of one engine. `failures` and `dropped` count what went wrong with them."""

    def __init__(self, listeners: Sequence[Listener], queue_max: int = QUEUE_MAX) -> None:
        self.failures = 0
        self.dropped = 0
        self._listeners = tuple(listeners)
        self._failed: set[int] = set()
        self._queue_max = queue_max
        self._queue: _Queue = queue.Queue(queue_max)
        self._thread: threading.Thread | None = None
        self._put = 0  # Events queued, and events told: each counted by one thread only.
        self._told = 0

    def open(self) -> None:
        """Starts the thread, if there is anybody to tell."""
        if self._listeners:
            # A queue of its own: a listener that still hangs since the last time keeps what it was told then.
            self._queue = queue.Queue(self._queue_max)
            self._put = self._told = 0
            self._thread = threading.Thread(
                target=self._tell_all, args=(self._queue,), name="sagacity-listeners", daemon=True
            )
            self._thread.start()

    def tell(self, told: Told) -> None:
        """Queues the events of one batch, each with the state after it; never waits and never raises."""
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(told)
            self._put += len(told)
        except queue.Full:
            first = not self.dropped
            self.dropped += len(told)
            if first:
                _LOG.warning("listeners are too slow: events are dropped for them; the journal keeps all")

    def drain(self, within_s: float) -> bool:
        """Waits until the listeners have been told everything; False when that takes longer."""
        ends_at = time.monotonic() + within_s
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    return False
                self._queue.all_tasks_done.wait(left_s)
        return True

    def close(self, within_s: float) -> None:
        """Drains, then lets the thread end; a listener that hangs is left behind with it, and what it missed
        counts as dropped."""
        if self._thread is not None and self.drain(within_s):
            self._queue.put(None)
            self._thread.join()
        elif self._thread is not None:
            self.dropped += self._put - self._told
        self._thread = None

    def _tell_all(self, told: _Queue) -> None:
        while (batch := told.get()) is not None:
            for state, event in batch:
                self._tell_one(state, event)
            self._told += len(batch)
            told.task_done()
        told.task_done()  # The end itself.

    def _tell_one(self, state: RunState, event: Event) -> None:
        for position, listener in enumerate(self._listeners):
            try:
                listener(state, event)
            except BaseException as problem:  # noqa: BLE001  listeners are foreign code; not even an exit stops us
                self._count(position, problem)

    def _count(self, position: int, problem: BaseException) -> None:
        self.failures += 1
        if position not in self._failed:
            self._failed.add(position)
            _LOG.warning(
                "listener %r failed: %s: %s", self._listeners[position], type(problem).__name__, problem
            )
