"""Runs out of event logs in tables, plain or gzip: one row per event, or one per attempt with both its ends.

How the text is read is said in `csv_text`, which column says what in `csv_columns`, how times are written in
`csv_times`, and what a case is as a run in `case_runs`. What this reader decides where real files leave room:

* Rows of one case may be anywhere in the file. They are grouped in a temporary database on the disk, so that
  memory holds one case at a time and `CACHE_KIB` of that database besides.
* The format of times is found in the first rows; if day and month look alike in these, in many more. A time
  that does not fit is none. One without a zone is read as UTC.
* A row without a case, or too short to hold all that an event needs, is left out and counted; a row without
  an activity is the activity `(unnamed)`.
* A case's context is that of its first row: the columns that the user names, else those called `case:...`,
  but dates. Numbers may have a decimal comma where the comma divides no columns.
* `outcome` is read where the user names its column; words that nobody knows are outcomes unknown. How a case
  ended is told by rows with the values that the user names (`csv_verdicts`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import DEFAULT_LIFECYCLE, UNNAMED_ACTIVITY, ImportRefused
from sagacity_data.importers.case_runs import CaseRuns, context_of, name_of
from sagacity_data.importers.csv_columns import ColumnsRefused, columns_of
from sagacity_data.importers.csv_text import DELIMITERS, TableText
from sagacity_data.importers.csv_times import TimeFormat, TimesRefused, format_called, format_of
from sagacity_data.importers.csv_values import outcome_of, value_of
from sagacity_data.importers.csv_verdicts import Seen, verdict_in, verdicts_of
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.xes_lifecycles import MOVES, LogEvent
from sagacity_data.importers.xes_stream import CASE_EVENTS_MAX
from sagacity_data.rows import AttemptOutcome

CACHE_KIB: Final = 64 * 1024
ROWS_SAMPLED: Final = (1_000, 100_000)
"""How many rows are looked at for the format of times, at first and where these do not tell."""

_ROWS_AT_ONCE: Final = 5_000
_TABLES: Final = """
    CREATE TABLE events (
        name TEXT, place INTEGER, activity TEXT, at_us INTEGER, started_us INTEGER, lifecycle TEXT,
        instance TEXT, resource TEXT, outcome TEXT, verdict INTEGER, context TEXT
    );
"""
Row = tuple[int, list[str]]


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of the table, by the names of their cases. Raises `ImportRefused`, mostly before the first."""
    table = _Table(path, hints, tally)
    try:
        with closing(sqlite3.connect("")) as database:  # A private file that vanishes at the end.
            database.executescript(f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_mode = OFF; {_TABLES}")
            _fill(database, table)
            yield from _runs(database, table, hints, tally)
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        reason = f"could not be grouped by case ({error})"[:160]
        raise ImportRefused(path, "", reason, "free space for temporary files, or split it") from None


def _fill(database: sqlite3.Connection, table: _Table) -> None:
    events = table.events()
    while some := list(islice(events, _ROWS_AT_ONCE)):
        database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", some)
    table.note_unused()
    if not table.rows:
        raise ImportRefused(table.path, "", "holds no event", "check that it is the log you meant")


def _runs(database: sqlite3.Connection, table: _Table, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    own_lifecycle = not any(
        lifecycle in MOVES for (lifecycle,) in database.execute("SELECT DISTINCT lifecycle FROM events")
    )
    if own_lifecycle:
        tally.notes["the log's lifecycle is no standard one: every event was read as a completion"] += 1
    runs = CaseRuns(name_of(table.path), hints, tally, own_lifecycle=own_lifecycle)
    name, events, context, seen = "", list[LogEvent](), "", Seen(table.verdicts)
    for row in database.execute("SELECT * FROM events ORDER BY name, place"):
        if events and row[0] != name:
            yield runs.run_of(name, events, json.loads(context), seen.told())
            events = []
        if not events:
            name, context, seen = row[0], row[-1], Seen(table.verdicts)
        if len(events) >= CASE_EVENTS_MAX:
            reason = f"has a case of more than {CASE_EVENTS_MAX:,} events ({name[:40]!r})"
            raise ImportRefused(table.path, "", reason, "split that case")
        events.append(_event(row))
        seen.take(events[-1].when, row[-2])
    if events:
        yield runs.run_of(name, events, json.loads(context), seen.told())


def _event(row: Sequence[Any]) -> LogEvent:
    _, _, activity, at_us, started_us, lifecycle, instance, resource, outcome, *_ = row
    told = AttemptOutcome(outcome) if outcome else None
    at, started_at = (None if each is None else each / 1e6 for each in (at_us, started_us))
    return LogEvent(activity, at, lifecycle, instance, resource, started_at, told)


class _Table:
    """The table, as far as it can be understood from its first rows."""

    def __init__(self, path: Path, hints: Hints, tally: Tally) -> None:
        self.path = path
        self.rows = 0
        self._tally = tally
        self._text = TableText(path, tally)
        self._said = hints.columns
        self._delimiter = self._chosen_delimiter()
        header = self._header()
        try:
            self._columns = columns_of(header, self._said)
            self.verdicts = verdicts_of(header, hints)
        except ColumnsRefused as refusal:
            raise ImportRefused(path, "line 1", refusal.reason, refusal.way_out) from None
        if len(set(header)) < len(header):
            tally.notes["of several columns of one name the first was read"] += 1
        self._width = len(header)
        self._times = self._time_format()
        self._sees_cases: set[int] = set()
        self._given: set[int] = set()

    def events(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the database."""
        for _, row in islice(self._all_rows(), 1, None):
            columns = self._columns
            if len(row) != self._width:
                self._tally.notes["rows have more or fewer columns than the header"] += 1
            case = row[columns.case].strip() if len(row) > columns.last_needed else ""
            if not case:
                self._tally.notes["rows without a case, or cut short, were left out"] += 1
                continue
            self.rows += 1
            yield (case, self.rows, *self._told(row), self._context(case, row))

    def _told(self, row: list[str]) -> tuple[Any, ...]:
        columns = self._columns
        activity = row[columns.activity].strip()
        if not activity:
            self._tally.notes["events without a name are called (unnamed)"] += 1
        at_us, started_us = self._at(row, columns.timestamp), self._at(row, columns.start)
        if at_us is not None and started_us is not None and started_us > at_us:
            self._tally.notes["attempts that end before they start have no start"] += 1
            started_us = None
        outcome = _cell(row, columns.outcome)
        return (
            activity or UNNAMED_ACTIVITY,
            at_us,
            started_us,
            _cell(row, columns.lifecycle).lower() or DEFAULT_LIFECYCLE,
            _cell(row, columns.instance) or None,
            _cell(row, columns.resource) or None,
            outcome_of(outcome, self._tally).value if outcome else None,
            self._verdict(row),
        )

    def _verdict(self, row: list[str]) -> int | None:
        number = verdict_in(row, self.verdicts)
        if number is not None:
            self._given.add(number)
        return number

    def note_unused(self) -> None:
        """Note the values that were to tell how cases ended, and that no row has."""
        for number, verdict in enumerate(self.verdicts):
            if number not in self._given:
                self._tally.notes[f"value in no row that counts: {verdict.words}"] += 1

    def _at(self, row: list[str], place: int | None) -> int | None:
        if place is None:
            return None
        text = _cell(row, place)
        told = self._times.at(text) if text else None
        if told is None:
            self._tally.notes["events without a readable time since 1970 have none"] += 1
            return None
        if not told[1]:
            self._tally.notes["times without a zone were read as UTC"] += 1
        return told[0]

    def _context(self, case: str, row: list[str]) -> str:
        """The context as JSON, if this is the case's first row as far as is known."""
        if not self._columns.context or hash(case) in self._sees_cases:
            return "{}"
        self._sees_cases.add(hash(case))
        values = []
        for name, place in self._columns.context:
            text = _cell(row, place)
            if text and self._times.at(text) is None:
                values.append((name, value_of(text, comma=self._delimiter != ",")))
        return json.dumps(context_of(values, self._tally))

    def _time_format(self) -> TimeFormat:
        try:
            if "time_format" in self._said:
                return format_called(self._said["time_format"])
            for most in ROWS_SAMPLED[:-1]:
                try:
                    return format_of(self._sampled_times(most))
                except TimesRefused:
                    continue
            return format_of(self._sampled_times(ROWS_SAMPLED[-1]))
        except TimesRefused as refusal:
            raise ImportRefused(self.path, "", refusal.reason, refusal.way_out) from None

    def _sampled_times(self, most: int) -> Iterator[str]:
        columns = self._columns
        place = columns.start if columns.timestamp is None else columns.timestamp
        for _, row in islice(self._all_rows(), 1, most + 1):
            yield _cell(row, place)

    def _all_rows(self) -> Iterator[Row]:
        """The rows, the header first."""
        rows = self._text.rows(self._delimiter)
        for number, row in rows:
            if number > 1 or not (len(row) == 2 and row[0].lower() == "sep=" and not row[1]):
                yield number, row

    def _header(self) -> list[str]:
        for _, row in self._all_rows():
            return [name.strip() for name in row]
        raise ImportRefused(self.path, "byte 0", "is empty", "export the log again")

    def _chosen_delimiter(self) -> str:
        said = {"tab": "\t", "\\t": "\t"}.get(
            self._said.get("delimiter", ""), self._said.get("delimiter", "")
        )
        if not said:
            return self._text.delimiter()
        if len(said) != 1 or said in '"\r\n':
            named = " ".join(repr(each) for each in DELIMITERS)
            raise ImportRefused(self.path, "", f"cannot be divided by {said[:10]!r}", f"say one of {named}")
        return said


def _cell(row: list[str], place: int | None) -> str:
    return row[place].strip() if place is not None and place < len(row) else ""
