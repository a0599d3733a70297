"""The databases behind the barrier's tests: a SQLite file, and the PostgreSQL that the suite starts."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from sagacity_engine.barrier import Barrier, PostgresBarrier, SqliteBarrier

SCHEMAS = itertools.count()


class Bench(Protocol):
    """A participant's database with a table of effects, and the barrier that goes with it."""

    def barrier(self, *, joins: bool = False, clock: Callable[[], float] = time.time) -> Barrier[Any]: ...
    def connect(self) -> Any: ...
    @property
    def dict_rows(self) -> Any:
        """What makes a connection's queries return dicts."""
        ...

    def begin(self, connection: Any) -> None:
        """Opens a transaction, as a participant would that lets the barrier join."""

    def act(self, connection: Any, effect: str) -> None: ...
    def effects(self) -> list[str]: ...
    def rows(self) -> dict[str, tuple[str, bool]]:
        """State and completeness by key."""
        ...

    def await_waiter(self, ended: Callable[[], bool]) -> None:
        """Returns when somebody waits for a lock, as far as the database tells, or has `ended`."""

    def close(self) -> None: ...


class SqliteBench:
    dict_rows = staticmethod(
        lambda cursor, row: dict(zip([each[0] for each in cursor.description], row, strict=True))
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[sqlite3.Connection] = []
        connection = self.connect()
        connection.execute("CREATE TABLE effects (effect TEXT NOT NULL)")
        self.barrier().create(connection)

    def barrier(self, *, joins: bool = False, clock: Callable[[], float] = time.time) -> SqliteBarrier:
        return SqliteBarrier(joins=joins, clock=clock)

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        self._open.append(connection)
        return connection

    def begin(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def act(self, connection: sqlite3.Connection, effect: str) -> None:
        connection.execute("INSERT INTO effects VALUES (?)", (effect,))

    def effects(self) -> list[str]:
        return [effect for (effect,) in self._fetch("SELECT effect FROM effects ORDER BY rowid")]

    def rows(self) -> dict[str, tuple[str, bool]]:
        found = self._fetch("SELECT key, state, unfinished IS NULL FROM saga_barrier")
        return {key: (state, bool(whole)) for key, state, whole in found}

    def await_waiter(self, ended: Callable[[], bool]) -> None:
        time.sleep(
            0.002
        )  # SQLite does not tell who waits; when nobody does yet, the calls just overlap less.

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def _fetch(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


class PostgresBench:
    dict_rows = staticmethod(dict_row)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = f"test_{next(SCHEMAS)}"
        self._open: list[psycopg.Connection[Any]] = []
        self._watch = self.connect()
        self._watch.autocommit = True
        self._watch.execute(SQL("CREATE SCHEMA {}").format(Identifier(self._schema)))
        self._watch.execute("CREATE TABLE effects (place SERIAL, effect TEXT NOT NULL)")
        self.barrier().create(self.connect())

    def barrier(self, *, joins: bool = False, clock: Callable[[], float] = time.time) -> PostgresBarrier:
        return PostgresBarrier(joins=joins, clock=clock)

    def connect(self) -> psycopg.Connection[Any]:
        path = f"-c search_path={self._schema}"
        connection = psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", options=path)
        self._open.append(connection)
        return connection

    def begin(self, connection: psycopg.Connection[Any]) -> None:
        pass  # The driver does it before the first statement.

    def act(self, connection: psycopg.Connection[Any], effect: str) -> None:
        connection.execute("INSERT INTO effects (effect) VALUES (%s)", (effect,))

    def effects(self) -> list[str]:
        return [row[0] for row in self._watch.execute("SELECT effect FROM effects ORDER BY place")]

    def rows(self) -> dict[str, tuple[str, bool]]:
        found = self._watch.execute("SELECT key, state, unfinished IS NULL FROM saga_barrier")
        return {key: (state, whole) for key, state, whole in found}

    def await_waiter(self, ended: Callable[[], bool]) -> None:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not ended() and self._watch.execute(waiting).fetchall()[0][0] == 0:
            time.sleep(0.001)

    def close(self) -> None:
        for connection in self._open[1:]:
            connection.close()
        self._watch.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(self._schema)))
        self._watch.close()


@pytest.fixture
def sqlite_bench(tmp_path: Path) -> Iterator[Bench]:
    made = SqliteBench(tmp_path / "participant.db")
    yield made
    made.close()


@pytest.fixture
def postgres_bench(postgres_folder: Path) -> Iterator[Bench]:
    made = PostgresBench(postgres_folder)
    yield made
    made.close()
