"""The barrier in SQLite (3.35 or later), over the standard library's `sqlite3`.

SQLite has one writer at a time, so a block takes the write lock when it begins: `BEGIN IMMEDIATE` waits for
whoever acts now, as long as the connection's `timeout` says. A transaction that began by reading could not
wait. `COMMIT` and `ROLLBACK` are statements here, because a connection's methods of these names do nothing in
some of its modes.
"""

from __future__ import annotations

import sqlite3

from sagacity_engine.barrier.barrier import Barrier
from sagacity_engine.barrier.refusals import committed_apart, in_the_middle
from sagacity_engine.barrier.table import Cursor


class SqliteBarrier(Barrier[sqlite3.Connection]):
    """The barrier for `sqlite3` connections, one per thread. When joining, begin with `BEGIN IMMEDIATE`."""

    _prune_statement = """
        DELETE FROM saga_barrier WHERE key IN (
            SELECT key FROM saga_barrier WHERE at < ? AND unfinished IS NULL ORDER BY at, key LIMIT ?
        )
    """

    def _begin(self, connection: sqlite3.Connection) -> Cursor:
        if connection.in_transaction and not self._joins:
            raise in_the_middle()
        if self._joins and not connection.in_transaction:
            raise committed_apart()
        cursor = connection.cursor()
        cursor.row_factory = None  # Plain tuples, whatever the participant likes to get.
        if not self._joins:
            cursor.execute("BEGIN IMMEDIATE")
        return cursor

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")

    def _rollback(self, connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")

    def _lacks_place(self, problem: Exception) -> bool:
        return "no such savepoint" in str(problem)
