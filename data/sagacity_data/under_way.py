"""What has started and not ended: calls of a service, runs of any saga.

An end can be lost (a host that never came back), so what is not heard of for a day no longer counts, and
beyond a fixed number the oldest tenth is forgotten. Nothing is looked through for what may be stale before
something can be: `_oldest` is no later than the oldest start.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any, Final

STALE_S: Final = 86_400.0
"""A call or run not heard of for so long no longer counts as under way: its end was lost."""

UNDER_WAY_MAX: Final = 20_000
"""Calls per service, and runs, remembered as under way; beyond it the oldest tenth is forgotten."""

Key = tuple[str | int, ...]


class UnderWay:
    """What has started and not ended, oldest first."""

    __slots__ = ("_in_order", "_newest", "_oldest", "since")

    def __init__(self) -> None:
        self.since: dict[Key, float] = {}
        self._oldest = math.inf
        self._newest = -math.inf
        self._in_order = True

    def open(self, key: Key, at: float) -> None:
        """`key` started at `at`; what has become stale by then is forgotten."""
        if at - STALE_S > self._oldest:
            self._forget(self._stale(at))
        if len(self.since) >= UNDER_WAY_MAX:
            self._forget(UNDER_WAY_MAX // 10 or 1)
        since = self.since
        since.pop(key, None)
        since[key] = at
        if at >= self._newest:
            self._newest = at
        else:  # It is told late.
            self._in_order = False
        self._oldest = min(self._oldest, at)

    def close(self, key: Key) -> None:
        """`key` ended; nothing happens if its start was never seen."""
        self.since.pop(key, None)

    def count(self, at: float) -> int:
        """How many are under way at `at`, stale ones apart."""
        if at - STALE_S <= self._oldest:
            return len(self.since)
        return len(self.since) - self._stale(at)

    def _stale(self, at: float) -> int:
        """How many of the oldest are stale."""
        self._sort()
        earliest, stale = at - STALE_S, 0
        for since in self.since.values():
            if since >= earliest:
                break
            stale += 1
        self._oldest = next(iter(self.since.values()), math.inf)
        return stale

    def _forget(self, oldest: int) -> None:
        self._sort()
        for key in list(islice(self.since, oldest)):
            del self.since[key]
        self._oldest = next(iter(self.since.values()), math.inf)

    def _sort(self) -> None:
        if not self._in_order:
            self.since = dict(sorted(self.since.items(), key=lambda entry: entry[1]))
            self._in_order = True

    def snapshot(self) -> list[list[Any]]:
        """Plain JSON: [at, *key] per entry, oldest first."""
        self._sort()
        return [
            [at, *(str(part) if isinstance(part, str) else part for part in key)]
            for key, at in self.since.items()
        ]

    def restore(self, entries: list[list[Any]]) -> None:
        """Takes over what `snapshot` gave."""
        self.since = {tuple(key): float(at) for at, *key in entries}
        self._in_order = False
        self._oldest = min(self.since.values(), default=math.inf)
        self._newest = max(self.since.values(), default=-math.inf)
