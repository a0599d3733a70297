"""Foreign histories in, rows out: good files are imported, bad ones reported, and never half of one.

A file's rows reach the dataset only when the whole file was read, whatever its size (`shelf`). Importing a
file again adds nothing: rows are told apart by run, step, direction and attempt. A run that was imported open
is replaced by what is told of it later (`held_runs`). What was read also gives every saga type a
definition (`inferred`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, JoiningReader, Names, Reader, Tally
from sagacity_data.importers.shelf import Place, Shelf
from sagacity_data.inferred import sagas_of
from sagacity_data.rows import AttemptRow, Row
from sagacity_data.saga_evidence import SagaEvidence
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import Taxonomy
from sagacity_engine import Saga

RUNS_PER_PROGRESS: Final = 200
HELD_BACK: Final = "what files hold of runs whose rest is in no file"
"""What is refused where the mistake is in none of the files."""

NOTES: Final = {
    Place.AGAIN: "runs were told more than once; the first one read counts",
    Place.INSTEAD: "runs that were told as open before are replaced by what is told of them now",
    Place.LEFT_OUT: "runs are told as open, and no less was told of them before: they are left out",
}
TOLD_TWICE: Final = NOTES[Place.AGAIN]


@dataclass(slots=True)
class Counts:
    """What was read."""

    runs: int = 0
    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # Of attempts.
    statuses: Counter[str] = field(default_factory=Counter)  # Of runs.

    def add(self, rows: Iterable[Row]) -> None:
        """Count these, too."""
        for row in rows:
            if isinstance(row, AttemptRow):
                self.attempts += 1
                self.outcomes[row.outcome.value] += 1
            else:
                self.runs += 1
                self.statuses[row.status.value] += 1


@dataclass(slots=True)
class HistoriesReport(Counts):
    """What an import did. `sagas` are the inferred definitions, by the saga type's name in the rows."""

    files: int = 0
    read: int = 0
    refused: list[ImportRefused] = field(default_factory=list)
    skipped_event_types: Counter[str] = field(default_factory=Names)
    notes: Counter[str] = field(default_factory=Names)
    sagas: Mapping[str, Saga] = field(default_factory=dict)
    seconds: float = 0.0


Progress = Callable[[Path, Tally], None]


def import_histories(
    name: str,
    reader: Reader,
    paths: Sequence[Path],
    store: DatasetStore,
    *,
    taxonomy: Taxonomy,
    hints: Hints | None = None,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress | None = None,
) -> HistoriesReport:
    """Imports files of the format `name` into the store. Raises `DatasetRefused` if it may not be written.

    Whatever a reader raises costs its own file only. The inferred definitions are kept beside the rows.
    """
    began = clock()
    work = _Import(name, reader, taxonomy, hints or Hints(), progress)
    work.report.files = len(paths)
    with Shelf(store) as shelf:
        for path in paths:
            work.take(path, shelf)
        work.take_left(shelf, every=True)
        shelf.keep()
    work.report.sagas = sagas_of(work.evidence)
    if work.report.sagas:
        store.keep_definitions(work.report.sagas.values())
    work.report.seconds = clock() - began
    return work.report


class _Import:
    """The import under way: what was read and refused, and what all of it says of its sagas."""

    def __init__(
        self, name: str, reader: Reader, taxonomy: Taxonomy, hints: Hints, progress: Progress | None
    ) -> None:
        self.report = HistoriesReport()
        self.evidence = SagaEvidence()
        self._name = name
        self._reader = reader
        self._taxonomy = taxonomy
        self._hints = hints
        self._progress = progress

    def take(self, path: Path, shelf: Shelf) -> None:
        tally = Tally()
        self.report.read += self._put(path, self._file_runs(path, tally), tally, shelf)
        self.take_left(shelf, every=False)

    def take_left(self, shelf: Shelf, *, every: bool) -> None:
        """What a joining reader has held back of the files before: what there is no room for, or all."""
        if isinstance(self._reader, JoiningReader):
            tally = Tally()
            self._put(None, self._reader.left(self._hints, tally, every=every), tally, shelf)

    def _put(self, path: Path | None, runs: Iterator[ForeignRun], tally: Tally, shelf: Shelf) -> bool:
        """Takes all runs, or none and a refusal. Without a path there may be none."""
        counts, evidence = Counts(), SagaEvidence(self.evidence.bits)
        try:
            for rows in self._rows(path or HELD_BACK, runs):
                counts.add(rows)
                evidence.add(rows)
                self._shelve(rows, shelf, tally)
            if path is not None and not counts.runs and not tally.held_back:
                raise ImportRefused(path, "", "holds no run", "check that it is a history of this format")
        except ImportRefused as refusal:
            shelf.drop_file()
            self.report.refused.append(refusal)
            return False
        shelf.keep_file()
        self.evidence.join(evidence)
        self._count(counts, tally)
        return True

    def _file_runs(self, path: Path, tally: Tally) -> Iterator[ForeignRun]:
        if path.is_dir():
            raise ImportRefused(path, "", "holds no file of this format", "name the files themselves")
        for number, run in enumerate(self._reader(path, self._hints, tally)):
            if self._progress is not None and number % RUNS_PER_PROGRESS == 0:
                self._progress(path, tally)
            yield run
        if self._progress is not None:
            self._progress(path, tally)

    def _rows(self, path: object, runs: Iterator[ForeignRun]) -> Iterator[list[Row]]:
        """The rows of each run, its own last."""
        try:
            for run in runs:
                yield rows_of(_as_said(run, self._hints), self._name, self._taxonomy)
        except ImportRefused:
            raise
        except MemoryError:
            raise ImportRefused(path, "", "needs more memory than there is", "split it") from None
        except Exception as bug:  # A reader's mistake must not cost the other files.
            reason = f"could not be understood ({type(bug).__name__})"
            raise ImportRefused(path, "", reason, "leave it out, and report it with the file") from bug

    def _shelve(self, rows: Sequence[Row], shelf: Shelf, tally: Tally) -> None:
        if note := NOTES.get(shelf.add(rows)):
            tally.notes[note] += 1

    def _count(self, counts: Counts, tally: Tally) -> None:
        report = self.report
        report.runs += counts.runs
        report.attempts += counts.attempts
        report.outcomes += counts.outcomes
        report.statuses += counts.statuses
        for into, met in ((report.skipped_event_types, tally.skipped), (report.notes, tally.notes)):
            for name, times in met.items():
                into[name] += times


def _as_said(run: ForeignRun, hints: Hints) -> ForeignRun:
    """The run with what the user says of tenant and services, where its reader has left that to us."""
    if hints.tenant and not run.tenant:
        run = replace(run, tenant=hints.tenant)
    if not any(tried.step in hints.services for tried in run.attempts):
        return run
    attempts = (
        replace(tried, service=hints.services.get(tried.step, tried.service)) for tried in run.attempts
    )
    return replace(run, attempts=tuple(attempts))
