"""The SQLite buffer of a dataset: rows are durable here at once, and move to Parquet when there are many.

`buffer.db` lies in the dataset's folder, is in WAL mode, and every `write` is one transaction with one fsync
(`synchronous=FULL`): a sink promises that rows are durable when `write` returns, and since rows are written
in batches, away from the runs, an fsync a batch is not felt. A row is its JSON text under its kind and its
key, so the same row written twice is there once.

Any number of processes may write: SQLite lets one at a time. Whoever reads a dataset reads the buffer first
and the Parquet files after it: then rows that are being moved meanwhile are seen twice, never not at all,
and reading keeps one of each key (`buffered_rows`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import SCHEMA_VERSION, Row
from sagacity_data.sinks.row_texts import TABLE_OF, Texts, key_text, read_row, row_text

FILE: Final = "buffer.db"
FILES: Final = (FILE, f"{FILE}-wal", f"{FILE}-shm")
"""What a buffer adds to its folder."""

APPLICATION_ID: Final = 0x53414742  # "SAGB"
BUSY_TIMEOUT_S: Final = 30.0
"""How long a writer waits for another one, or for a compaction."""

_LAYOUT: Final = """
CREATE TABLE rows (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    run_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    at REAL NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (kind, key)
)
"""
_INSERT: Final = "INSERT OR IGNORE INTO rows (kind, key, run_id, tenant, at, text) VALUES (?, ?, ?, ?, ?, ?)"


class Buffer:
    """The buffer of the dataset in `folder`, made when something is written. `clock`: s since 1970.

    Every method raises `DatasetRefused` when the file is not ours, is damaged or cannot be read or written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(folder) / FILE
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def write(self, rows: Sequence[Row]) -> None:
        """Keeps the rows, all of them or none; they are on the disk when it returns."""
        shared: Texts = {}
        at = self._clock()
        lines = [
            (TABLE_OF[type(row)], key_text(row), row.run_id, row.tenant, at, row_text(row, shared))
            for row in rows
        ]
        if not lines:
            return
        with self.changing() as connection:
            connection.executemany(_INSERT, lines)

    def close(self) -> None:
        """Lets the file go; a later call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._refusals():
                connection.close()

    def rows(self) -> list[Row]:
        """Everything that has not been moved yet, oldest first."""
        return [row for _, row in self.oldest(-1)]

    def oldest(self, limit: int) -> list[tuple[int, Row]]:
        """The oldest `limit` rows, each with its place; a negative limit gives all."""
        found = self._fetch("SELECT place, kind, text FROM rows ORDER BY place LIMIT ?", limit)
        return [(place, self._row(kind, text)) for place, kind, text in found]

    def count(self) -> int:
        """How many rows wait to be moved."""
        return int(self._fetch("SELECT count(*) FROM rows")[0][0]) if self.path.is_file() else 0

    def since(self) -> float | None:
        """When the oldest of them was written, in seconds since 1970; None when there is none."""
        found = self._fetch("SELECT at FROM rows ORDER BY place LIMIT 1")
        return float(found[0][0]) if found else None

    def ended_runs(self) -> set[str]:
        """The runs whose own row is here."""
        return {run_id for (run_id,) in self._fetch("SELECT run_id FROM rows WHERE kind = 'runs'")}

    def forget(self, *, run_ids: Sequence[str] = (), tenant: str | None = None) -> int:
        """Deletes the rows of these runs, and of this tenant; how many there were.

        What was deleted is overwritten, and the write-ahead log emptied unless somebody is reading just then.
        """
        if not self.path.is_file():
            return 0
        with self.changing() as connection:
            gone = 0
            for run_id in run_ids:
                gone += connection.execute("DELETE FROM rows WHERE run_id = ?", (run_id,)).rowcount
            if tenant is not None:
                gone += connection.execute("DELETE FROM rows WHERE tenant = ?", (tenant,)).rowcount
        with self._refusals():
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that keeps other writers out from its start; undone when anything is raised."""
        with self._refusals():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # It may be gone already, and the transaction with it.
                    connection.execute("ROLLBACK")
                raise

    def _fetch(self, query: str, *values: object) -> list[Any]:
        if not self.path.is_file():
            return []
        with self._refusals():
            return self._open().execute(query, values).fetchall()

    def _row(self, kind: str, text: str) -> Row:
        try:
            return read_row(kind, text)
        except DatasetRefused as problem:
            raise DatasetRefused(f"{self.path}: {problem}; restore the file, or remove it") from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Makes the table, or makes sure that it is ours before anything in the file is changed."""
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(_LAYOUT)
        elif found != APPLICATION_ID:
            raise DatasetRefused(
                f"{self.path} is no buffer of a dataset; move it away, or choose another folder"
            )
        connection.execute("COMMIT")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise DatasetRefused(
                f"{self.path} has schema version {version} and this program reads {SCHEMA_VERSION}; "
                "move what it holds with the program that wrote it"
            )
        _use_a_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as problem:
            # A connection that met an error may not know of a file that was put in its place since.
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
            raise DatasetRefused(f"{self.path}: {problem}; {_way_out(problem)}") from None


def _use_a_log(connection: sqlite3.Connection) -> None:
    """Turns the write-ahead log on; SQLite itself does not wait for others who are about to do the same."""
    ends_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                raise
            time.sleep(0.01)
        else:
            return


def _way_out(problem: Exception) -> str:
    told = str(problem)
    if "locked" in told:
        return "another process holds it: write again when that has ended"
    if "malformed" in told or "not a database" in told:
        return "restore it from a copy, or move it away"
    return "free the disk or choose another folder, and write again"


def buffered_rows(folder: str | os.PathLike[str]) -> list[Row]:
    """What the buffer of this dataset holds, oldest first; nothing where there is no buffer.

    Read it before the Parquet files, and keep one row of each key. Refuses as `Buffer` does.
    """
    with closing(Buffer(folder)) as buffer:
        return buffer.rows()


def forget_buffered(
    folder: str | os.PathLike[str], *, run_ids: Sequence[str] = (), tenant: str | None = None
) -> int:
    """Deletes rows from the buffer of this dataset; how many. Do it before deleting from the Parquet files.

    It waits for a compaction that is going on, so that what this one moves is in the files by then.
    """
    with closing(Buffer(folder)) as buffer:
        return buffer.forget(run_ids=run_ids, tenant=tenant)
