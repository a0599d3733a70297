"""Names for runs that come without one: unique, and in the order of their making.

A random name would put every new run at a random place of the journal's index; one that begins with the
time keeps neighbours in time together (the layout is that of UUID version 7, RFC 9562).
"""

from __future__ import annotations

import os
import random
import time


class RunIds:
    """Makes run ids; its randomness is the operating system's, taken once per process.

    >>> new_run_id = RunIds()
    >>> earlier, later = new_run_id(), new_run_id()
    >>> len(earlier), earlier[14], earlier != later
    (36, '7', True)
    """

    def __init__(self) -> None:
        self._process = -1
        self._random = random.Random(0)

    def __call__(self) -> str:
        """A UUID that begins with the milliseconds since the epoch."""
        if self._process != os.getpid():  # Also in the child of a fork.
            self._process = os.getpid()
            self._random.seed(os.urandom(32))
        drawn = f"{self._random.getrandbits(76):019x}"
        time_ms = f"{time.time_ns() // 1_000_000:012x}"
        variant = "89ab"[int(drawn[3], 16) & 3]
        return f"{time_ms[:8]}-{time_ms[8:]}-7{drawn[:3]}-{variant}{drawn[4:7]}-{drawn[7:]}"
