"""What may go wrong at one write of a journal, and where.

A place is the n-th thing that a disk, or a connection, is asked to change in one life of a process. What
kills the process there leaves the files as they are at that moment; what does not, it has to live with.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Trouble(Enum):
    """What happens at one write, truncation, deletion or sync of the disk."""

    KILL_BEFORE = "killed before it"
    KILL_AFTER = "killed after it"
    TORN = "killed with half of it written"
    FULL = "disk full, once"
    FULL_A_WHILE = "disk full, for a while"
    ERROR = "error of the disk, once"
    POWER_LOSS = "power lost, all unsynced gone"
    POWER_LOSS_SOME = "power lost, some unsynced gone"
    POWER_LOSS_AFTER_ERROR = "error, then power lost"

    @property
    def kills(self) -> bool:
        """Whether nobody of the process is left to deal with it at once."""
        return self in KILLING or self in POWER


KILLING = (Trouble.KILL_BEFORE, Trouble.KILL_AFTER, Trouble.TORN)
LIVED_THROUGH = (Trouble.FULL, Trouble.FULL_A_WHILE, Trouble.ERROR)
POWER = (Trouble.POWER_LOSS, Trouble.POWER_LOSS_SOME, Trouble.POWER_LOSS_AFTER_ERROR)

A_WHILE = 7
"""How many writes find the disk full before there is room again."""

LATER = 5
"""How many operations after an error the power is lost."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The trouble of one life, at its operation number `at`, from 1."""

    trouble: Trouble
    at: int


class Killed(KeyboardInterrupt):
    """The process is gone. No `except Exception`, and no event loop, stops this."""
