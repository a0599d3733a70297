"""How a case of a table ended, where the user says which cells tell it: `Status=Declined` that it failed.

A row tells when one of its cells has a value that the user names, letter for letter but for the space around
it. Of several rows of a case that tell, the last one counts, by its time and else by its place; of one row
that tells both, that the case failed. A case without such a row has

* completed, if only failures are named;
* failed, if only completions are named;
* not ended, if both are: its end is still to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sagacity_data.importers.case_runs import Told
from sagacity_data.importers.csv_columns import place_of
from sagacity_data.importers.reading import Hints
from sagacity_data.importers.run_status import End


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row with this value in the column at this place tells how its case ended."""

    place: int
    value: str
    end: End
    words: str  # As the user said it.


Verdicts = tuple[Verdict, ...]


def verdicts_of(header: Sequence[str], hints: Hints) -> Verdicts:
    """What the user names, failures first. Raises `ColumnsRefused` for a column that is not there."""
    named = ((End.FAILED, hints.failed_when), (End.COMPLETED, hints.completed_when))
    return tuple(
        Verdict(place_of(header, column), value, end, f"{column}={value}")
        for end, cells in named
        for column, value in cells
    )


def verdict_in(row: Sequence[str], verdicts: Verdicts) -> int | None:
    """Which verdict a row gives, by its number; None for none."""
    for number, verdict in enumerate(verdicts):
        if verdict.place < len(row) and row[verdict.place].strip() == verdict.value:
            return number
    return None


class Seen:
    """What the rows of one case tell of its end so far."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._latest = self._told_at = float("-inf")
        self._told: Verdict | None = None

    def take(self, at: float | None, verdict: int | None) -> None:
        """The next row in the order of the file; without a time it counts as of the latest one before it."""
        at = self._latest if at is None else at
        self._latest = max(self._latest, at)
        if verdict is not None and at >= self._told_at:
            self._told, self._told_at = self._verdicts[verdict], at

    def told(self) -> Told | None:
        """How the case ended; None where the user names nothing."""
        if not self._verdicts:
            return None
        if self._told is not None:
            failed = self._told.end is End.FAILED
            return Told(self._told.end, f"failed: {self._told.words}" if failed else "")
        ends = {verdict.end for verdict in self._verdicts}
        if len(ends) > 1:
            return Told(End.OPEN)
        if End.FAILED in ends:
            return Told(End.COMPLETED)
        return Told(End.FAILED, "failed: no row tells that it completed")
