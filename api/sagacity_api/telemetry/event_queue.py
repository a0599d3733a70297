"""Events on their way out: a queue bounded in number and in bytes, and the account of what became of each.

Whoever puts never waits: what finds no room is dropped and counted. Whoever takes gets batches, and says of
each what became of it, so that at any time

    offered = posted + dropped + lost + refused + unfit + pending
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What became of an event that was handed over."""

    POSTED = "posted"  # The service has taken it.
    DROPPED = "dropped"  # There was no room, or no time left before closing.
    LOST = "lost"  # The service could not be told, however often it was tried.
    REFUSED = "refused"  # The service would not have it.
    UNFIT = "unfit"  # It cannot be written as JSON, or is larger than a whole batch may be.


@dataclass(frozen=True, slots=True)
class PostCounts:
    """The account so far. `failed_posts` counts requests, everything else events."""

    fates: Mapping[Fate, int]
    pending: int
    failed_posts: int

    def of(self, fate: Fate) -> int:
        """How many events had this fate."""
        return self.fates.get(fate, 0)

    @property
    def offered(self) -> int:
        """How many events were handed over."""
        return sum(self.fates.values()) + self.pending


class EventQueue:
    """Holds at most `events_max` encoded events of at most `bytes_max` bytes together.

    A batch has at most `batch_events_max` events and `batch_bytes_max` bytes, a comma for each included.
    """

    def __init__(self, events_max: int, bytes_max: int, batch_events_max: int, batch_bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._batch_events_max = batch_events_max
        self._batch_bytes_max = batch_bytes_max
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._pending = 0  # Waiting, or taken and not settled.
        self._fates: Counter[Fate] = Counter()
        self._failed_posts = 0
        self._changed = threading.Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._closed

    def full(self) -> bool:
        """Whether an event would be dropped now, whatever its size."""
        return self._closed or len(self._waiting) >= self._events_max

    def put(self, event: bytes) -> None:
        """Takes in an event, or says what became of it instead."""
        size = len(event) + 1
        with self._changed:
            if size > self._batch_bytes_max:
                self._fates[Fate.UNFIT] += 1
            elif self.full() or self._bytes + size > self._bytes_max:
                self._fates[Fate.DROPPED] += 1
            else:
                self._waiting.append(event)
                self._bytes += size
                self._pending += 1
                if len(self._waiting) == 1 or self._ripe():
                    self._changed.notify_all()

    def reject(self, fate: Fate) -> None:
        """Notes an event that never got in."""
        with self._changed:
            self._fates[fate] += 1

    def take(self, linger_s: float) -> list[bytes]:
        """The next batch, waited for and given `linger_s` to grow. Empty when closed and empty."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            ends_at = time.monotonic() + linger_s
            while not self._ripe() and (left_s := ends_at - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return self._cut()

    def settle(self, events: int, fate: Fate) -> None:
        """Says what became of events that were taken."""
        with self._changed:
            self._fates[fate] += events
            self._pending -= events
            self._changed.notify_all()

    def failed(self) -> None:
        """Notes a request that failed."""
        with self._changed:
            self._failed_posts += 1

    def close(self) -> None:
        """Takes nothing more in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self, within_s: float) -> bool:
        """Waits until everything has been settled; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, within_s)

    def drop_all(self) -> None:
        """Drops what still waits."""
        with self._changed:
            self._fates[Fate.DROPPED] += len(self._waiting)
            self._pending -= len(self._waiting)
            self._waiting.clear()
            self._bytes = 0

    def counts(self) -> PostCounts:
        """The account at this moment."""
        with self._changed:
            return PostCounts(dict(+self._fates), self._pending, self._failed_posts)

    def _ripe(self) -> bool:
        """Whether waiting would not make the next batch any larger."""
        waiting = len(self._waiting)
        return (
            self._closed
            or waiting >= min(self._batch_events_max, self._events_max)
            or self._bytes >= min(self._batch_bytes_max, self._bytes_max)
        )

    def _cut(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._batch_events_max:
            size += len(self._waiting[0]) + 1
            if size > self._batch_bytes_max:
                break
            batch.append(self._waiting.popleft())
            self._bytes -= len(batch[-1]) + 1
        return batch
