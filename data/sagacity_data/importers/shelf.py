"""Rows on their way from files into the store: whole files or nothing, and of each run what tells most.

Rows of files that were read whole wait until there are `ROWS_HELD` of them. A file longer than that is handed
to the store's draft as it is read, and counts when it was read to its end. What the dataset, or an earlier
file, tells of a run less far on (`held_runs`) is taken out in the same moment as the new rows begin to count.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from sagacity_data.importers.held_runs import HeldRuns, Telling, telling_of
from sagacity_data.rows import Row
from sagacity_data.store import DatasetStore

ROWS_HELD: Final = 20_000
"""The most rows that wait to be handed to the store."""

RUNS_KNOWN_MAX: Final = 1_000_000
"""So many runs of an import are remembered, to notice those that come twice."""


class Place(Enum):
    """What became of a run's rows."""

    NEW = "new"
    AGAIN = "again"  # An ended run was told before by this import: of rows alike the first count.
    INSTEAD = "instead"  # They take the place of what was told of the run before.
    LEFT_OUT = "left out"  # What was told before tells no less.


class Shelf:
    """Rows that wait for the end of their file, and files that wait to be written. Use as a context."""

    def __init__(self, store: DatasetStore) -> None:
        self._draft = store.adding(by_month=True)
        self._held = HeldRuns(store)
        self._known: dict[int, Telling] = {}  # Of files that were read whole, by the hash of the run's id.
        self._whole = _Runs()
        self._begin_file()

    def __enter__(self) -> Shelf:
        self._draft.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._draft.__exit__(None, None, None)

    def add(self, rows: Sequence[Row]) -> Place:
        """One run's rows, its own last, of the file that is being read."""
        run_id, telling = rows[-1].run_id, telling_of(rows)
        place = self._place_of(run_id, telling)
        if place is Place.LEFT_OUT:
            return place
        self._file_known[hash(run_id)] = telling
        if place is Place.INSTEAD:
            self._file.instead.add(run_id)
            self._file.drop(run_id)
        self._file.add(run_id, rows)
        if self._file.count >= ROWS_HELD:
            self._spill()
        return place

    def keep_file(self) -> None:
        """The file was read whole."""
        if len(self._known) < RUNS_KNOWN_MAX:
            self._known.update(self._file_known)
        if self._spilled:
            self._spill()
            self._draft.keep(self._file.instead)
        else:
            self._whole.take(self._file)
            if self._whole.count >= ROWS_HELD:
                self.keep()
        self._begin_file()

    def drop_file(self) -> None:
        """The file is refused."""
        if self._spilled:
            self._draft.drop()
        self._begin_file()

    def keep(self) -> None:
        """Everything of whole files is in the dataset and on the disk when this returns."""
        self._draft.add(self._whole.rows())
        self._draft.keep(self._whole.instead)
        self._whole = _Runs()

    def _begin_file(self) -> None:
        self._file = _Runs()
        self._file_known: dict[int, Telling] = {}
        self._spilled = False  # Whether the draft holds a part of the file that is being read.

    def _place_of(self, run_id: str, now: Telling) -> Place:
        key = hash(run_id)
        in_file = self._file_known.get(key)
        before = self._known.get(key) if in_file is None else in_file
        told_twice = before is not None
        if before is None:
            before = self._held.telling(run_id, now)
        if before is None:
            return Place.NEW
        if before.ended and now.ended:
            return Place.AGAIN if told_twice else Place.NEW
        if now <= before or (in_file is not None and run_id not in self._file):
            return Place.LEFT_OUT  # Also where a long file tells it twice, and its first rows are written.
        return Place.INSTEAD

    def _spill(self) -> None:
        if not self._spilled:
            self.keep()
        self._draft.add(self._file.rows())
        self._file.clear()
        self._spilled = True


class _Runs:
    """Rows by run; `instead` names the runs whose rows take the place of earlier ones."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}
        self.count = 0
        self.instead: set[str] = set()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._rows

    def add(self, run_id: str, rows: Sequence[Row]) -> None:
        self._rows.setdefault(run_id, []).extend(rows)
        self.count += len(rows)

    def drop(self, run_id: str) -> None:
        self.count -= len(self._rows.pop(run_id, ()))

    def clear(self) -> None:
        """Forgets the rows, not what they take the place of."""
        self._rows, self.count = {}, 0

    def take(self, later: _Runs) -> None:
        """Adds what a later file has; nobody but these rows has to give way to it."""
        for run_id, rows in later._rows.items():
            if run_id in later.instead and run_id in self._rows:
                self.drop(run_id)
            elif run_id in later.instead:
                self.instead.add(run_id)
            self.add(run_id, rows)

    def rows(self) -> list[Row]:
        return [row for rows in self._rows.values() for row in rows]
