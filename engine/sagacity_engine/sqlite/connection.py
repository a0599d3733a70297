"""A connection to a journal's file: what is asked of it, and how its errors and transactions are handled.

Whoever opens a journal may bring connections of its own, as long as they do what `Connection` says; tests
bring ones whose file system fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sagacity_engine.errors import JournalRefused

BUSY_TIMEOUT_MS = 5_000


class Rows(Protocol):
    """What a query gives."""

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...


class Connection(Protocol):
    """As much of `sqlite3.Connection` as a journal needs: in autocommit, for any one thread at a time.

    What goes wrong is raised as `sqlite3.Error` or `OSError`.
    """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Runs one statement."""
        ...

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Runs one statement for each row of parameters."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


Connect = Callable[[str], Connection]
"""Opens a connection to a path."""


def connect_sqlite(path: str) -> sqlite3.Connection:
    """The ordinary connection."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1e3)


@contextmanager
def refusals(path: Path, way_out: str) -> Iterator[None]:
    """Turns what SQLite and the operating system raise into `JournalRefused` naming the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise JournalRefused(f"{path}: {problem}; the journal {way_out}") from problem


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """One transaction that may write from its start, committed at the end or, on an error, undone."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: Connection) -> None:
    """Undoes what is open, if anything is."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
