"""The archive: finished runs move from a journal into another file of the same layout.

A run is proved whole, copied, and only when the copy is durable deleted, in a transaction that first makes
sure that the run is still as it was copied. Whatever fails in between, each run is in one of the files or in
both, and doing it again goes on from there. Each transaction holds a few runs, so an engine that uses the
journal meanwhile hardly notices. SQLite uses the freed space again; the file does not shrink.

The journal keeps the ids of archived runs, and nothing else of them, so that an id is never used twice. Runs
that need attention are not finished. A run that was altered stays where it is, for a person to look at. So
does the run of a step that is a saga, until the run above it is gone: that one may have to take it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sagacity_engine import codec
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, RunStarted, Status
from sagacity_engine.run_lines import RunSummary, line_after
from sagacity_engine.sqlite.connection import Connect, Connection, refusals, transaction
from sagacity_engine.sqlite.file import open_reader, open_writer
from sagacity_engine.sqlite.lease import Lease
from sagacity_engine.sqlite.reads import Reads
from sagacity_engine.sqlite.rows import RUN_COLUMNS, StoredRun, checksum, no_tail

FINISHED = (Status.COMPLETED, Status.COMPENSATED, Status.ABANDONED)
"""What may be archived."""

RUNS_PER_TRANSACTION = 50
PAGE = 1_000

CANDIDATES = (
    "SELECT number, run_id, started_at, ended_at FROM runs WHERE status = ? AND number > ? "
    "ORDER BY number LIMIT ?"
)

PLAN = "SELECT hash, document FROM plans WHERE hash = ?"
DEFINITION = "SELECT hash, document, checksum FROM definitions WHERE hash = ?"
NUMBER = "SELECT number FROM runs WHERE run_id = ?"
TAIL = "SELECT number, seq, checksum FROM runs WHERE run_id = ?"
LINE = (
    f"INSERT INTO runs ({RUN_COLUMNS}, seq, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608  our constant
    "ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at, "
    "reason = excluded.reason, step = excluded.step, seq = excluded.seq, checksum = excluded.checksum"
)

_NO_ARCHIVE = "cannot be archived; free disk space or end what holds it, then archive again"


def archive(
    path: Path, before: float, into: Path, limit: int, *, connect: Connect, clock: Callable[[], float]
) -> int:
    """Moves up to `limit` finished runs that ended before `before` into the journal `into`; how many.

    `before` is in seconds since the epoch. Raises `JournalRefused` when one of the files does not do its
    part, or `into` has another run by the same id.
    """
    if into.resolve() == path.resolve():
        raise JournalRefused(f"{into}: is the journal itself; name another file")
    moved = 0
    with (
        closing(Reads(path, open_reader(path, connect))) as reads,
        closing(_Copy(into, connect, clock)) as copy,
    ):
        chosen = islice(_chosen(reads, before), limit)
        while group := list(islice(chosen, RUNS_PER_TRANSACTION)):
            copied = copy.take(reads, group)
            moved += _delete(path, connect, copied)
    return moved


def _chosen(reads: Reads, before: float) -> Iterator[str]:
    """Runs that ended before a time, oldest first; a run starts before it ends, which bounds the search."""
    for status in FINISHED:
        number = 0
        while page := reads.rows(CANDIDATES, status.value, number, PAGE):
            yield from (run_id for _, run_id, _, ended_at in page if ended_at < before)
            number = page[-1][0]
            if all(started_at >= before for _, _, started_at, _ in page):
                break


@dataclass(frozen=True, slots=True)
class _Copied:
    """A run that is in both files now, and the run above it."""

    stored: StoredRun
    parent: str


class _Copy:
    """The file that runs are copied into."""

    def __init__(self, path: Path, connect: Connect, clock: Callable[[], float]) -> None:
        self._path = path
        self._lease = Lease(path, 60.0, clock)
        try:
            self._connection = open_writer(path, connect, "full", may_migrate=self._lease.require_locked)
            try:
                with refusals(path, _NO_ARCHIVE):
                    self._lease.take(self._connection)
                self._reads = Reads(path, open_reader(path, connect))
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lease.unlock()
            raise

    def close(self) -> None:
        """Lets the file go."""
        self._reads.close()
        try:
            with refusals(self._path, _NO_ARCHIVE):
                self._lease.give_back(self._connection)
        finally:
            self._connection.close()
            self._lease.unlock()

    def take(self, reads: Reads, run_ids: list[str]) -> list[_Copied]:
        """Copies runs durably; those that are whole and may go, as they were copied."""
        copied: dict[str, _Copied] = {}
        with refusals(self._path, _NO_ARCHIVE), transaction(self._connection):
            self._lease.require(self._connection)
            for run_id in run_ids:
                stored = reads.stored(run_id)
                if stored is None or (found := _finished(reads, stored)) is None:
                    continue
                events, line = found
                parent = events[0].parent if isinstance(events[0], RunStarted) else ""
                if parent not in copied and reads.rows(NUMBER, parent):
                    continue
                self._add(reads, stored, events, line)
                copied[run_id] = _Copied(stored, parent)
        return list(copied.values())

    def _add(self, reads: Reads, stored: StoredRun, events: tuple[Event, ...], line: RunSummary) -> None:
        there = self._reads.stored(stored.run_id)
        kept = () if there is None else tuple(there.events(self._reads.plan))
        if kept != events[: len(kept)]:
            raise JournalRefused(
                f"{self._path}: has another run {stored.run_id!r}; archive into another file"
            )
        if kept == events:
            return
        if there is None and not stored.first_layout:
            rows = [(seq, body, held) for seq, body, held in stored.batches]
            self._insert("plans", reads.rows(PLAN, codec.plan_named(rows[0][1])))
        else:  # The rest of a run that went on, or one to be encoded anew.
            held = no_tail(stored.run_id) if there is None else there.tail[1]
            body, plan = codec.encode_batch(events[len(kept) :])
            rows = [(len(kept) + 1, body, checksum(held, len(kept) + 1, body))]
            self._insert("plans", [] if plan is None else [(plan.hash, plan.document)])
        self._insert("definitions", reads.rows(DEFINITION, line.definition_hash))
        self._write(line, len(events), rows)

    def _insert(self, table: str, rows: list[Any]) -> None:
        for row in rows:
            marks = ", ".join("?" * len(row))
            self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608  our names

    def _write(self, line: RunSummary, last: int, rows: list[tuple[int, str, bytes]]) -> None:
        values = (line.run_id, line.saga, line.definition_hash, line.status.value, line.started_at)
        ended = (line.ended_at, line.reason, line.step, last, rows[-1][2])
        self._connection.execute(LINE, values + ended)
        (number,) = self._connection.execute(NUMBER, (line.run_id,)).fetchone()
        self._connection.executemany(
            "INSERT INTO batches (number, seq, body, checksum) VALUES (?, ?, ?, ?)",
            [(number, *row) for row in rows],
        )


def _finished(reads: Reads, stored: StoredRun) -> tuple[tuple[Event, ...], RunSummary] | None:
    """The run's events and line, or None when it is not finished or not as written."""
    try:
        events = tuple(stored.events(reads.plan))
    except JournalRefused:
        return None
    line = line_after(None, events)
    return (events, line) if line is not None and line.status in FINISHED else None


def _delete(path: Path, connect: Connect, copied: list[_Copied]) -> int:
    """Deletes the runs that are still as they were copied; how many."""
    if not copied:
        return 0
    with refusals(path, _NO_ARCHIVE):
        connection = connect(str(path))
        try:
            connection.execute("PRAGMA synchronous = FULL")
            with transaction(connection):
                return sum(_delete_one(connection, each.stored, each.parent) for each in copied)
        finally:
            connection.close()


def _delete_one(connection: Connection, stored: StoredRun, parent: str) -> bool:
    row: Any = connection.execute(TAIL, (stored.run_id,)).fetchone()
    if row is None or (row[1], row[2]) != stored.tail:
        return False  # It has gone on, or somebody else has archived it.
    if connection.execute(NUMBER, (parent,)).fetchone() is not None:
        return False  # The run above it has gone on.
    connection.execute("INSERT INTO archived VALUES (?, ?)", (stored.run_id, row[0]))
    connection.execute("DELETE FROM batches WHERE number = ?", (row[0],))
    connection.execute("DELETE FROM events_1 WHERE run_id = ?", (stored.run_id,))
    connection.execute("DELETE FROM runs WHERE number = ?", (row[0],))
    return True
