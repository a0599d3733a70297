"""How many runs are carried on at a time: the back-pressure on starts.

Only starting waits for a place. A run that has nothing to do for a while gives its place up and takes one
again, without waiting, when something happens to it: what has begun is never held up by what has not.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """At most `most` places are given out to those who wait for them."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    def acquired(self) -> bool:
        """Whether a place was free, and nobody waited for it; it is taken then."""
        if self._free <= 0 or self._waiting:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Waits for a place; first come, first served."""
        if self.acquired():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # The place came just as the waiting was given up.
            raise

    def take(self) -> None:
        """Takes a place at once, one too many if need be."""
        self._free -= 1

    def release(self) -> None:
        """Gives a place back; whoever has waited longest gets it."""
        self._free += 1
        while self._free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
