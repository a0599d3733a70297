"""How a foreign run ended, in our words: what its history says of the end, and which effects still stand."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sagacity_data.importers.foreign_runs import ForeignAttempt
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Status


class End(StrEnum):
    """What a history says of its run's end."""

    COMPLETED = "completed"
    FAILED = "failed"  # Failed, timed out or was cancelled.
    TERMINATED = "terminated"  # Somebody gave it up.
    OPEN = "open"  # No end in the history.


def status_of(end: End, attempts: Iterable[ForeignAttempt]) -> Status:
    """Our status: a failed run needs attention while any effect of it stands, else it is compensated.

    An effect stands where an attempt succeeded, or may have, and no undo of its step succeeded after it. So
    is a run compensated that caught its failure, took everything back and then ended in peace.
    """
    match end:
        case End.COMPLETED:
            return Status.COMPENSATED if _took_all_back(tuple(attempts)) else Status.COMPLETED
        case End.TERMINATED:
            return Status.ABANDONED
        case End.OPEN:
            return Status.RUNNING
        case End.FAILED:
            return Status.NEEDS_ATTENTION if _standing(attempts) else Status.COMPENSATED


def _took_all_back(attempts: tuple[ForeignAttempt, ...]) -> bool:
    undone = any(tried.direction is Direction.UNDO for tried in attempts)
    return undone and not _standing(attempts)


def _standing(attempts: Iterable[ForeignAttempt]) -> set[str]:
    standing: set[str] = set()
    for tried in attempts:
        if tried.direction is Direction.FORWARD and tried.outcome is not AttemptOutcome.FAILED:
            standing.add(tried.step)
        elif tried.direction is Direction.UNDO and tried.outcome is AttemptOutcome.SUCCEEDED:
            standing.discard(tried.step)
    return standing
