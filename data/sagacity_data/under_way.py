"""What has started and not ended: calls of a service, runs of any saga.

An end can be lost (a host that never came back), so what is not heard of for a day no longer counts, and
beyond a fixed number the oldest is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

STALE_S: Final = 86_400.0
"""A call or run not heard of for so long no longer counts as under way: its end was lost."""

UNDER_WAY_MAX: Final = 20_000
"""Calls per service, and runs, remembered as under way; beyond it the oldest is forgotten."""

Key = tuple[str, ...]


class UnderWay:
    """What has started and not ended, oldest first."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: dict[Key, float] = {}

    def open(self, key: Key, at: float) -> None:
        """`key` started at `at`; what has become stale by then is forgotten."""
        for stale in list(self._stale(at)):
            del self.since[stale]
        if len(self.since) >= UNDER_WAY_MAX:
            del self.since[next(iter(self.since))]
        self.since[key] = at

    def close(self, key: Key) -> None:
        """`key` ended; nothing happens if its start was never seen."""
        self.since.pop(key, None)

    def count(self, at: float) -> int:
        """How many are under way at `at`, stale ones apart."""
        return len(self.since) - sum(1 for _ in self._stale(at))

    def _stale(self, at: float) -> Iterator[Key]:
        for key, since in self.since.items():
            if since >= at - STALE_S:
                return
            yield key

    def snapshot(self) -> list[list[Any]]:
        """Plain JSON: [at, *key] per entry, oldest first."""
        return [[at, *key] for key, at in self.since.items()]

    def restore(self, entries: list[list[Any]]) -> None:
        """Takes over what `snapshot` gave."""
        self.since = {tuple(map(str, key)): float(at) for at, *key in entries}
