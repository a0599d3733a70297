"""Foreign histories in, rows out: good files are imported, bad ones reported, and never half of one.

A file's rows reach the dataset only when the whole file was read, whatever its size; memory holds `ROWS_HELD`
of them. Small files are stored together. Importing a file again adds nothing: rows are told apart by run,
step, direction and attempt. What was read also gives every saga type a definition (`inferred`).
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
from sagacity_data.importers.reading import Hints, Names, Reader, Tally
from sagacity_data.inferred import sagas_of
from sagacity_data.rows import AttemptRow, Row
from sagacity_data.saga_evidence import SagaEvidence
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import Taxonomy
from sagacity_engine import Saga

ROWS_HELD: Final = 20_000
"""The most rows that wait to be handed to the store."""

RUNS_KNOWN_MAX: Final = 1_000_000
"""So many runs are remembered, to notice those that come twice."""

RUNS_PER_PROGRESS: Final = 200

TOLD_TWICE: Final = "runs were told more than once; the first one read counts"


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
    with _Shelf(store) as shelf:
        for path in paths:
            work.take(path, shelf)
        shelf.keep()
    work.report.sagas = sagas_of(work.evidence)
    if work.report.sagas:
        store.keep_definitions(work.report.sagas.values())
    work.report.seconds = clock() - began
    return work.report


class _Shelf:
    """Rows on their way into the store: those of whole files wait, a file too long to wait is written."""

    def __init__(self, store: DatasetStore) -> None:
        self._draft = store.adding()
        self._whole: list[Row] = []  # Of files that were read whole.
        self._file: list[Row] = []
        self._spilled = False  # Whether the draft holds a part of the file that is being read.

    def __enter__(self) -> _Shelf:
        self._draft.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._draft.__exit__(None, None, None)

    def add(self, rows: Sequence[Row]) -> None:
        """Rows of the file that is being read."""
        self._file += rows
        if len(self._file) >= ROWS_HELD:
            if not self._spilled:
                self.keep()
            self._draft.add(self._file)
            self._file, self._spilled = [], True

    def keep_file(self) -> None:
        """The file was read whole."""
        self._whole += self._file
        self._file = []
        if self._spilled or len(self._whole) >= ROWS_HELD:
            self.keep()
        self._spilled = False

    def drop_file(self) -> None:
        """The file is refused."""
        self._file = []
        if self._spilled:
            self._draft.drop()
        self._spilled = False

    def keep(self) -> None:
        """Everything of whole files is in the dataset and on the disk when this returns."""
        self._draft.add(self._whole)
        self._whole = []
        self._draft.keep()


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
        self._known: set[int] = set()

    def take(self, path: Path, shelf: _Shelf) -> None:
        tally, counts, evidence = Tally(), Counts(), SagaEvidence(self.evidence.bits)
        try:
            for rows in self._rows(path, tally):
                counts.add(rows)
                evidence.add(rows)
                shelf.add(rows)
                self._note_if_known(rows[-1].run_id, tally)
            if not counts.runs:
                raise ImportRefused(path, "", "holds no run", "check that it is a history of this format")
        except ImportRefused as refusal:
            shelf.drop_file()
            self.report.refused.append(refusal)
            return
        shelf.keep_file()
        self.evidence.join(evidence)
        self._count(counts, tally)

    def _rows(self, path: Path, tally: Tally) -> Iterator[list[Row]]:
        """The rows of each run, its own last."""
        if path.is_dir():
            raise ImportRefused(path, "", "holds no file of this format", "name the files themselves")
        try:
            for number, run in enumerate(self._reader(path, self._hints, tally)):
                if self._progress is not None and number % RUNS_PER_PROGRESS == 0:
                    self._progress(path, tally)
                yield rows_of(_as_said(run, self._hints), self._name, self._taxonomy)
        except ImportRefused:
            raise
        except MemoryError:
            raise ImportRefused(path, "", "needs more memory than there is", "split it") from None
        except Exception as bug:  # A reader's mistake must not cost the other files.
            reason = f"could not be understood ({type(bug).__name__})"
            raise ImportRefused(path, "", reason, "leave it out, and report it with the file") from bug
        if self._progress is not None:
            self._progress(path, tally)

    def _note_if_known(self, run_id: str, tally: Tally) -> None:
        key = hash(run_id)
        if key in self._known:
            tally.notes[TOLD_TWICE] += 1
        elif len(self._known) < RUNS_KNOWN_MAX:
            self._known.add(key)

    def _count(self, counts: Counts, tally: Tally) -> None:
        report = self.report
        report.read += 1
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
