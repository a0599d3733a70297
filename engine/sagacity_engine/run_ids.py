"""Names for runs that come without one: unique, and in the order of their making.

A random name would put every new run at a random place of the journal's index; one that begins with the
time keeps neighbours in time together (the layout is that of UUID version 7, RFC 9562).
"""

from __future__ import annotations

import os
import time


def new_run_id() -> str:
    """A UUID that begins with the milliseconds since the epoch.

    >>> earlier, later = new_run_id(), new_run_id()
    >>> len(earlier), earlier[14], earlier != later
    (36, '7', True)
    """
    text = f"{time.time_ns() // 1_000_000:012x}7{os.urandom(10).hex()}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:32]}"
