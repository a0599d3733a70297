"""Where a call stands in a trace: the `traceparent` header of W3C Trace Context.

Nothing is drawn at random: a call's place follows from its run, step, direction and attempt, so a replay, a
retry of a lost request and a second process give the same one. The trace is the caller's, or the run's own
when the caller gave none (then it counts as sampled: nobody has said otherwise).
"""

from __future__ import annotations

import re
from hashlib import blake2b

from sagacity_engine.events import Direction

_FIELDS = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_VALID = re.compile(rf"00{_FIELDS}|(?!00|ff)[0-9a-f]{{2}}{_FIELDS}(?:-.*)?")
_KNOWN_FLAGS = {f"{flags:x}": f"0{flags & 3}" for flags in range(16)}  # Sampled, and random.


def valid(text: str) -> bool:
    """Whether the text is a traceparent: of version 00, or of a later one as far as we can read it.

    >>> valid("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    True
    >>> valid("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")
    False
    """
    return _VALID.fullmatch(text) is not None


def child(traceparent: str, run_id: str, step: str, direction: Direction, attempt: int) -> str:
    """The traceparent of one call, in version 00. What is no valid parent begins a trace of the run's own.

    >>> child("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "r-1", "pay", Direction.FORWARD, 1)
    '00-4bf92f3577b34da6a3ce929d0e0e4736-7412ebbcd848b5eb-01'
    """
    name = f"{run_id}\0{step}\0{direction}\0{attempt}".encode()
    span_id = blake2b(name, digest_size=8).hexdigest()
    if traceparent and valid(traceparent):
        return f"00-{traceparent[3:35]}-{span_id}-{_KNOWN_FLAGS[traceparent[54]]}"
    trace_id = blake2b(run_id.encode(), digest_size=16).hexdigest()
    return f"00-{trace_id}-{span_id}-01"
