"""Calls back, made one after the other and never one inside another.

Whoever lets something go tells the next in line, who may let it go at once and so tell the one after. Made
straight away, such calls would nest as deep as the line is long. Here the first of them makes them all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

CallBack = Callable[[], object]
"""Tells somebody that it is their turn. It must not raise, and what it returns is nobody's business."""


class Turns:
    """Makes calls in the order they were handed in."""

    __slots__ = ("_busy", "_due")

    def __init__(self) -> None:
        self._due: deque[CallBack] = deque()
        self._busy = False

    def take(self, call_back: CallBack) -> None:
        """Makes the call now, or right after those that are being made.

        When calls raise nevertheless, the others are made all the same; then the first problem is raised.
        """
        self._due.append(call_back)
        if self._busy:
            return
        self._busy = True
        problem: Exception | None = None
        while self._due:
            try:
                self._due.popleft()()
            except Exception as raised:  # noqa: BLE001  the others must not wait for ever for one that raised
                problem = problem or raised
        self._busy = False
        if problem is not None:
            raise problem
