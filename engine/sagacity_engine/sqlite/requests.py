"""Requests from other processes, as they lie in the journal's file.

Asking is a short transaction of its own, so any process may ask beside a running engine. The engine looks for
requests through a connection that does nothing else, so that no long read keeps it waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from sagacity_engine.batch import REQUESTS_MAX, Request
from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite.connection import Connect, Connection, refusals, transaction
from sagacity_engine.sqlite.file import layout, require_no_folder
from sagacity_engine.sqlite.schema import SCHEMA_VERSION

_NO_REQUEST = "takes no requests; free disk space or end what holds it, then ask again"

PENDING = "SELECT number, run_id, kind, body FROM requests WHERE answer IS NULL ORDER BY number"
ANSWER = "SELECT answer FROM requests WHERE number = ?"


def ask(path: Path, connect: Connect, request: Request) -> int:
    """Puts a request into the file; its number."""
    require_no_folder(path)
    if not path.exists():
        raise JournalRefused(f"{path}: there is no such journal; check the path")
    with refusals(path, _NO_REQUEST):
        connection = connect(str(path))
        try:
            if layout(path, connection) < SCHEMA_VERSION:
                raise JournalRefused(
                    f"{path}: has an older layout, without requests; open it with an engine once"
                )
            with transaction(connection):
                return _put(path, connection, request)
        finally:
            connection.close()


def _put(path: Path, connection: Connection, request: Request) -> int:
    (waiting,) = connection.execute("SELECT count(*) FROM requests WHERE answer IS NULL").fetchone()
    if waiting >= REQUESTS_MAX:
        raise JournalRefused(f"{path}: {REQUESTS_MAX} requests are waiting; run an engine that answers them")
    row = (request.run_id, request.kind, request.body)
    connection.execute("INSERT INTO requests (run_id, kind, body) VALUES (?, ?, ?)", row)
    (number,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    oldest = (number - REQUESTS_MAX,)
    connection.execute("DELETE FROM requests WHERE number <= ? AND answer IS NOT NULL", oldest)
    return int(number)


class Requests:
    """The requests of a journal that is open here."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection
        self._reading = threading.Lock()

    def pending(self, answered: Mapping[int, str]) -> tuple[tuple[int, Request], ...]:
        """The requests without an answer, but for those whose answer is on its way to the disk."""
        skip = set(answered)  # Before the file is read: what is written meanwhile is in one of the two.
        with self._reading, refusals(self._path, "cannot be read; restore it from a copy"):
            rows = self._connection.execute(PENDING).fetchall()
        return tuple((row[0], Request(*row[1:])) for row in rows if row[0] not in skip)

    def answer_of(self, number: int) -> str | None:
        """None while the request waits."""
        with self._reading, refusals(self._path, "cannot be read; restore it from a copy"):
            found = self._connection.execute(ANSWER, (number,)).fetchone()
        if found is None:
            raise JournalRefused(f"{self._path}: has no request {number} any more; put it in again")
        answer: str | None = found[0]
        return answer

    def close(self) -> None:
        """Ends the connection."""
        with self._reading:
            self._connection.close()
