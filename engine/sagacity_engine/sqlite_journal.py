"""The journal in a SQLite file: WAL, `synchronous=FULL`, one writer thread, any number of readers.

This is the port's face. Writing is the writer thread's (`sqlite_writer`); what a row holds and how it is
proved whole, `sqlite_rows`'; whose file it is and who may write to it, `sqlite_file`'s. Reading has a
connection of its own, so that a long read never holds up a commit.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagacity_engine.document import read_saga, saga_document
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, RunEnded, Status
from sagacity_engine.journal import Entry, RunSummary, require_one_run
from sagacity_engine.saga import Saga
from sagacity_engine.sqlite_file import Connect, connect_sqlite, open_reader, refusals
from sagacity_engine.sqlite_rows import RUN_COLUMNS, altered, summary, verified
from sagacity_engine.sqlite_writer import SqliteWriter

_NO_READ = "cannot be read; restore it from a copy"


class SqliteJournal:
    """A journal in the file `path`, which is created when it does not exist.

    Nothing is opened before `open`. With `read_only` the journal can be read beside a running engine, and
    `append` and `define` are refused.
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, connect: Connect = connect_sqlite
    ) -> None:
        self.path = Path(path)
        self._read_only = read_only
        self._connect = connect
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._writer: SqliteWriter | None = None
        self._commits = 0

    @property
    def opened(self) -> bool:
        """Whether `open` succeeded and `close` has not been called since."""
        return self._reader is not None

    @property
    def commits(self) -> int:
        """Transactions written by this object."""
        return self._commits + (self._writer.commits if self._writer is not None else 0)

    def open(self) -> None:
        """Opens and, unless `read_only`, locks the file; raises `JournalRefused` naming it."""
        if self.opened:
            raise JournalRefused(f"{self.path}: in use by another engine; give each its own journal")
        writer = None if self._read_only else SqliteWriter(self.path, self._connect)
        try:
            self._reader = open_reader(self.path, self._connect)
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        self._writer = writer

    def close(self) -> None:
        """Commits what is queued, then lets the file go."""
        if self._writer is not None:
            self._writer.close()
            self._commits += self._writer.commits
            self._writer = None
        with self._reading:
            if self._reader is not None:
                self._reader.close()
            self._reader = None

    def append(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Queues entries of one run; the future is done when they are on the disk."""
        require_one_run(entries)
        return self._require_writer().append(entries)

    def define(self, saga: Saga) -> None:
        """Kept by its hash; raises `JournalRefused` when the file cannot be written."""
        self._require_writer().define(saga.definition_hash, json.dumps(saga_document(saga)))

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition; raises `JournalRefused` when it was altered."""
        rows = self._select("SELECT document FROM definitions WHERE hash = ?", (definition_hash,))
        if not rows:
            return None
        saga = read_saga(json.loads(rows[0][0]))
        if saga.definition_hash != definition_hash:
            raise JournalRefused(
                f"{self.path}: definition {definition_hash[:12]} was altered; restore the file from a copy"
            )
        return saga

    def read(self, run_id: str) -> tuple[Event, ...]:
        """The run's events; raises `JournalRefused` naming run and place if one was altered or is missing."""
        rows = self._select(
            "SELECT seq, kind, at, body, checksum FROM events WHERE run_id = ? ORDER BY seq", (run_id,)
        )
        events = tuple(verified(self.path, run_id, rows))
        line = self.run(run_id)
        ended = bool(events) and isinstance(events[-1], RunEnded)
        if line is not None and line.status.ended and not ended:
            raise altered(self.path, run_id, len(events) + 1)
        return events

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        rows = self._select(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,))  # noqa: S608  our constant
        return summary(rows[0]) if rows else None

    def runs(self, status: Status | None = None, limit: int = 100) -> tuple[RunSummary, ...]:
        """The newest first."""
        where, values = ("WHERE status = ?", (status.value,)) if status else ("", ())
        rows = self._select(
            f"SELECT {RUN_COLUMNS} FROM runs {where} ORDER BY started_at DESC, run_id DESC LIMIT ?",  # noqa: S608  our constants
            (*values, limit),
        )
        return tuple(map(summary, rows))

    def open_runs(self) -> tuple[RunSummary, ...]:
        """The oldest first."""
        rows = self._select(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE ended_at IS NULL ORDER BY started_at, run_id",  # noqa: S608  our constant
            (),
        )
        return tuple(map(summary, rows))

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        rows = self._select("SELECT status, count(*) FROM runs GROUP BY status", ())
        held = {Status(status): count for status, count in rows}
        return {status: held[status] for status in Status if status in held}

    def _require_writer(self) -> SqliteWriter:
        if self._writer is None:
            raise JournalRefused(f"{self.path}: is not open for writing; open it, without read_only")
        return self._writer

    def _select(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._reading, refusals(self.path, _NO_READ):
            if self._reader is None:
                raise JournalRefused(f"{self.path}: is not open; open it first")
            return self._reader.execute(query, values).fetchall()
