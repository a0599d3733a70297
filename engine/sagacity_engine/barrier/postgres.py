"""The barrier in PostgreSQL (10 or later), over any DB-API connection with `%s` parameters, as in psycopg.

DB-API drivers open a transaction by themselves before the first statement, unless the connection is in
autocommit; PostgreSQL refuses a savepoint outside a transaction, which is the proof that there is one. Two
calls at once under one key meet in the unique index: the second waits there for the first to end, then sees
its row as committed, also in READ COMMITTED. In the stricter levels it gets a serialization error instead and
must be called again. How long it waits is the connection's `lock_timeout`.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Protocol

from sagacity_engine.barrier.barrier import Barrier, Connection
from sagacity_engine.barrier.refusals import BarrierMisused, committed_apart, in_the_middle
from sagacity_engine.barrier.table import Cursor

NO_SUCH_SAVEPOINT = "3B001"
NO_TRANSACTION = "25P01"


class PostgresConnection(Connection, Protocol):
    """What is used of a connection to PostgreSQL."""

    def commit(self) -> None:
        """Commits the transaction that the driver has opened."""

    def rollback(self) -> None:
        """Rolls it back."""


class PostgresBarrier(Barrier[PostgresConnection]):
    """The barrier for connections to PostgreSQL that are not in autocommit."""

    _mark = "%s"
    # Two that create at once would collide in the catalogue.
    _create_before = ("SELECT pg_advisory_xact_lock(hashtext('saga_barrier'))",)
    _prune_statement = """
        DELETE FROM saga_barrier WHERE key IN (
            SELECT key FROM saga_barrier WHERE at < ? ORDER BY at, key LIMIT ?
            FOR UPDATE SKIP LOCKED
        )
    """

    def _begin(self, connection: PostgresConnection) -> Cursor:
        if iscoroutinefunction(connection.commit):
            raise BarrierMisused(
                "the connection has to be awaited; open an ordinary one, and let the handler be a plain "
                "function, which the engine runs in a thread"
            )
        if not self._joins and getattr(connection, "autocommit", False):
            raise committed_apart()
        made = connection.cursor()
        if hasattr(made, "row_factory"):  # Plain tuples, whatever the participant likes to get.
            made.row_factory = lambda _cursor: tuple
        cursor: Cursor = made
        if not self._joins:
            self._require_unwritten(cursor)
        return cursor

    def _require_unwritten(self, cursor: Cursor) -> None:
        cursor.execute("SELECT txid_current_if_assigned() IS NOT NULL")
        if cursor.fetchall()[0][0]:
            raise in_the_middle()

    def _commit(self, connection: PostgresConnection) -> None:
        connection.commit()

    def _rollback(self, connection: PostgresConnection) -> None:
        connection.rollback()

    def _lacks_place(self, problem: Exception) -> bool:
        return _code(problem) in (NO_SUCH_SAVEPOINT, NO_TRANSACTION)


def _code(problem: Exception) -> object:
    # psycopg calls it sqlstate, psycopg2 pgcode.
    return getattr(problem, "sqlstate", None) or getattr(problem, "pgcode", None)
