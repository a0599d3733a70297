"""Blocks that end too early or cannot be whole, in the one database and the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sagacity_engine import OutcomeUnknown
from sagacity_engine.barrier import BarrierMisused
from sagacity_engine.events import Answer

if TYPE_CHECKING:
    from tests.barrier.conftest import Bench


def enter(bench: Bench, connection: Any, then: Callable[[], object], joins: bool = False) -> None:
    """An action whose block does just this."""
    with bench.barrier(joins=joins).once(connection, key="book") as entry:
        assert entry.first
        then()


def cancel(bench: Bench, connection: Any, key: str, then: Callable[[], object]) -> None:
    """An undo whose block does just this."""
    with bench.barrier().undo(connection, key=key, undoes="book") as entry:
        assert entry.owed
        then()


def commit_inside(bench: Bench, connection: Any) -> None:
    """The mistake: an action that commits half way."""

    def halves() -> None:
        bench.act(connection, "first half")
        connection.commit()
        bench.act(connection, "second half")

    enter(bench, connection, halves)


def nothing() -> None:
    pass


def unreachable() -> None:
    pytest.fail("The block was entered.")


@pytest.mark.parametrize("isolation_level", ["", "DEFERRED", None])
def test_sqlite_remembers_a_commit_inside(sqlite_bench: Bench, isolation_level: str | None) -> None:
    """The block fails, and its key never passes for done or open: every later call says that it is torn."""
    connection = sqlite_bench.connect()
    connection.isolation_level = isolation_level
    with pytest.raises(BarrierMisused, match="inside the barrier's block"):
        commit_inside(sqlite_bench, connection)
    assert sqlite_bench.rows() == {"book": ("acted", False)}
    with pytest.raises(OutcomeUnknown, match="committed before it ended"):
        enter(sqlite_bench, connection, unreachable)
    with pytest.raises(OutcomeUnknown, match="'book'"):
        cancel(sqlite_bench, connection, "cancel", unreachable)
    for final in (False, True):
        found = sqlite_bench.barrier().outcome(connection, key="book", final=final)
        assert found.answer is Answer.CANNOT_TELL
    assert sqlite_bench.barrier(clock=lambda: 1e12).prune(connection, before=1e12) == 0
    assert sqlite_bench.rows() == {"book": ("acted", False)}


def test_sqlite_remembers_a_torn_undo(sqlite_bench: Bench) -> None:
    """An undo that commits half way leaves both rows marked: another undo key does not undo again."""
    connection = sqlite_bench.connect()
    enter(sqlite_bench, connection, nothing)
    with pytest.raises(BarrierMisused, match="inside"):
        cancel(sqlite_bench, connection, "cancel", lambda: connection.executescript("-- it commits first"))
    assert sqlite_bench.rows() == {"book": ("undone", False), "cancel": ("acted", False)}
    with pytest.raises(OutcomeUnknown, match="'book'"):
        cancel(sqlite_bench, connection, "cancel 2", unreachable)


def test_sqlite_with_references_refuses_a_commit_inside(sqlite_bench: Bench) -> None:
    """Where SQLite enforces references, the commit itself fails and nothing is kept; else all is as usual."""
    connection = sqlite_bench.connect()
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        commit_inside(sqlite_bench, connection)
    assert (sqlite_bench.effects(), sqlite_bench.rows()) == ([], {})
    enter(sqlite_bench, connection, nothing)
    cancel(sqlite_bench, connection, "cancel", nothing)
    assert sqlite_bench.rows() == {"book": ("undone", True), "cancel": ("acted", True)}
    assert sqlite_bench.barrier(clock=lambda: 1e12).prune(connection, before=1e12) == 2


def test_postgres_refuses_a_commit_inside(postgres_bench: Bench) -> None:
    """In PostgreSQL the commit itself fails, in words that say why, and nothing is kept."""
    connection = postgres_bench.connect()
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="was_committed_inside_its_block"):
        commit_inside(postgres_bench, connection)
    assert (postgres_bench.effects(), postgres_bench.rows()) == ([], {})


def test_postgres_refuses_it_though_the_error_is_swallowed(postgres_bench: Bench) -> None:
    """A block that carries on after its failed commit fails at its end, and keeps nothing."""
    connection = postgres_bench.connect()

    def carry_on() -> None:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.commit()
        postgres_bench.act(connection, "second half")

    with pytest.raises(BarrierMisused, match="inside the barrier's block"):
        enter(postgres_bench, connection, carry_on)
    assert (postgres_bench.effects(), postgres_bench.rows()) == ([], {})


def test_postgres_keeps_other_errors(postgres_bench: Bench) -> None:
    """A failed statement that the block swallowed fails the block as PostgreSQL says it, keeping nothing."""
    connection = postgres_bench.connect()

    def carry_on() -> None:
        postgres_bench.act(connection, "booked")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        enter(postgres_bench, connection, carry_on)
    assert (postgres_bench.effects(), postgres_bench.rows()) == ([], {})


@pytest.mark.parametrize("joins", [False, True])
def test_a_lost_connection_keeps_nothing(postgres_bench: Bench, joins: bool) -> None:
    """When the server drops the connection inside the block, its error is passed on and nothing is kept."""
    connection = postgres_bench.connect()
    process = connection.info.backend_pid

    def lose() -> None:
        postgres_bench.act(connection, "booked")
        postgres_bench.connect().execute("SELECT pg_terminate_backend(%s, 10000)", (process,))

    with pytest.raises(psycopg.OperationalError):
        enter(postgres_bench, connection, lose, joins)
    assert (postgres_bench.effects(), postgres_bench.rows()) == ([], {})


@pytest.mark.parametrize("joins", [False, True])
def test_postgres_refuses_autocommit(postgres_bench: Bench, joins: bool) -> None:
    """On a connection that commits every statement by itself nothing is written and nothing acts."""
    connection = postgres_bench.connect()
    connection.autocommit = True
    with pytest.raises(BarrierMisused, match="committed apart"):
        enter(postgres_bench, connection, unreachable, joins)
    assert postgres_bench.rows() == {}


def test_postgres_joins_a_transaction_opened_in_autocommit(postgres_bench: Bench) -> None:
    """A transaction opened by hand can be joined; a block of its own is refused in it."""
    connection = postgres_bench.connect()
    connection.autocommit = True
    with connection.transaction():
        with pytest.raises(BarrierMisused, match="committed apart"):
            enter(postgres_bench, connection, unreachable)
        enter(postgres_bench, connection, nothing, joins=True)
        assert postgres_bench.rows() == {}
    assert postgres_bench.rows() == {"book": ("acted", True)}


class Shy:
    """A connection of another driver, which tells nothing of autocommit, nor its cursors of row types."""

    Error = psycopg.Error

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.commit = connection.commit
        self.rollback = connection.rollback

    def cursor(self) -> ShyCursor:
        return ShyCursor(self._connection.cursor())


class ShyCursor:
    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self.execute = cursor.execute
        self.fetchall = cursor.fetchall


def test_postgres_finds_hidden_autocommit(postgres_bench: Bench) -> None:
    """A driver that does not tell of its autocommit is found out by the database; without it, it serves."""
    connection = postgres_bench.connect()
    connection.autocommit = True
    with pytest.raises(BarrierMisused, match="committed apart"):
        enter(postgres_bench, Shy(connection), unreachable)
    assert postgres_bench.rows() == {}
    connection.autocommit = False
    enter(postgres_bench, Shy(connection), nothing)
    assert postgres_bench.rows() == {"book": ("acted", True)}


def test_postgres_refuses_an_awaitable_connection(postgres_bench: Bench) -> None:
    """A connection for asyncio is refused before anything is asked of it."""
    with pytest.raises(BarrierMisused, match="awaited"):
        enter(postgres_bench, psycopg.AsyncConnection, unreachable)


def test_sqlite_joins_only_what_is_open(sqlite_bench: Bench) -> None:
    """Without a transaction there is nothing to join, so every statement would commit by itself: refused."""
    connection = sqlite_bench.connect()
    connection.isolation_level = None
    with pytest.raises(BarrierMisused, match="committed apart"):
        enter(sqlite_bench, connection, unreachable, joins=True)
    assert sqlite_bench.rows() == {}


def test_sqlite_passes_on_that_it_is_locked(sqlite_bench: Bench) -> None:
    """Who waits longer than the connection's timeout gets SQLite's own error, and did nothing."""
    holder, late = sqlite_bench.connect(), sqlite_bench.connect()
    late.execute("PRAGMA busy_timeout = 1")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        enter(sqlite_bench, late, unreachable)
    assert not late.in_transaction


def test_a_block_may_close_its_connection(sqlite_bench: Bench) -> None:
    """Closing the connection inside the block loses the block, with the database's own error."""
    connection = sqlite_bench.connect()

    def close() -> None:
        sqlite_bench.act(connection, "booked")
        connection.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        enter(sqlite_bench, connection, close)
    assert (sqlite_bench.effects(), sqlite_bench.rows()) == ([], {})
