"""Failpoints on the standard `sqlite3`: a journal's connections that fail, or die, at the n-th statement.

    points = Failpoints(at=7, failure=Failure.DIE_AFTER, on_death=keep_a_copy_of_the_files)
    journal = SqliteJournal(path, connect=points.connect)

Only statements that may change the file count, `COMMIT` and checkpoints among them. A process that died at
one reaches the file no more: every later call fails. SQLite itself, however, folds its log into the file when
the last connection is closed, which no dead process does; who wants to see what a dead one left copies the
files (all but `-shm`) in `on_death`, and lets the next process open the copy.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from sagacity_engine.sqlite.connection import connect_sqlite


class Failure(Enum):
    """What happens at the statement."""

    FAIL_BEFORE = "fails undone"  # It raises and did nothing.
    FAIL_AFTER = "fails though done"  # It did what it should, and raises all the same.
    DIE_BEFORE = "dies before it"
    DIE_AFTER = "dies after it"

    @property
    def kills(self) -> bool:
        """Whether the process ends there."""
        return self in (Failure.DIE_BEFORE, Failure.DIE_AFTER)


UNCOUNTED = ("SELECT", "ROLLBACK", "PRAGMA QUERY_ONLY", "PRAGMA SYNCHRONOUS", "PRAGMA WAL_AUTOCHECKPOINT")
"""How statements begin that leave the file as it is."""


class Failpoints:
    """The connections of one process; `count` is how many statements there were that count.

    The statement number `at`, from 1, fails, and with it the `times - 1` after it; 0 is none. `on_death` is
    called once, at the moment of death, in the thread that made the statement.
    """

    def __init__(
        self,
        at: int = 0,
        failure: Failure = Failure.FAIL_BEFORE,
        *,
        times: int = 1,
        on_death: Callable[[], None] | None = None,
        connect: Callable[[str], sqlite3.Connection] = connect_sqlite,
    ) -> None:
        self.count = 0
        self.dead = False
        self._at = at
        self._failure = failure
        self._times = times
        self._on_death = on_death
        self._connect = connect
        self._counting = threading.Lock()

    def connect(self, path: str) -> FailingConnection:
        """A connection to the path; raises `sqlite3.OperationalError` once the process is dead."""
        self.require_alive()
        return FailingConnection(self, self._connect(path))

    def require_alive(self) -> None:
        """Raises `sqlite3.OperationalError` once the process is dead."""
        if self.dead:
            raise sqlite3.OperationalError("the process is dead")

    def pass_through(self, sql: str, carry_out: Callable[[], Any]) -> Any:
        """What `carry_out` returns, unless the statement is one that fails."""
        self.require_alive()
        if not self._strikes(sql):
            return carry_out()
        if self._failure in (Failure.FAIL_AFTER, Failure.DIE_AFTER):
            carry_out()
        if self._failure.kills:
            self.dead = True
            if self._on_death is not None:
                self._on_death()
        raise sqlite3.OperationalError("disk I/O error")

    def _strikes(self, sql: str) -> bool:
        if sql.lstrip().upper().startswith(UNCOUNTED):
            return False
        with self._counting:
            self.count += 1
            return 0 < self._at <= self.count < self._at + self._times


class FailingConnection:
    """As much of `sqlite3.Connection` as a journal needs."""

    def __init__(self, points: Failpoints, connection: sqlite3.Connection) -> None:
        self._points = points
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; a dead process has none."""
        return not self._points.dead and self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Runs one statement, if it is let through."""
        cursor: sqlite3.Cursor = self._points.pass_through(
            sql, lambda: self._connection.execute(sql, parameters)
        )
        return cursor

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> sqlite3.Cursor:
        """Runs one statement for each row, if it is let through."""
        cursor: sqlite3.Cursor = self._points.pass_through(
            sql, lambda: self._connection.executemany(sql, parameters)
        )
        return cursor

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
