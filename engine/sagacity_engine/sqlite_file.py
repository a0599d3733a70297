"""The file behind the SQLite journal: whose it is, which layout it has, and who may write to it.

Opening refuses, each with its own sentence, a folder, a file that is no SQLite database, a database of
something else, one written by a newer version, one that cannot be written, and one that another engine has
open. The last is told by a lock on a file beside the journal: the operating system drops it when its process
ends, however it ends. Network file systems that do not honour such locks are out of what is promised.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sagacity_engine.errors import JournalRefused

APPLICATION_ID = 0x53414741  # "SAGA"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 5_000
_MAGIC = b"SQLite format 3\x00"

Connect = Callable[[str], sqlite3.Connection]
"""Opens a connection to a path, in autocommit and usable from any one thread at a time."""

_SCHEMA = """
CREATE TABLE definitions (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    saga TEXT NOT NULL,
    definition_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    reason TEXT NOT NULL DEFAULT '',
    step TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX runs_by_status ON runs (status, started_at);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE TABLE events (
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    body TEXT NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""


def connect_sqlite(path: str) -> sqlite3.Connection:
    """The ordinary connection."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1e3)


def open_writer(path: Path, connect: Connect) -> sqlite3.Connection:
    """A connection that may write, to a journal that is created when the file is new or empty."""
    _require_plain_file(path)
    if not path.parent.is_dir():
        raise JournalRefused(f"{path}: the folder {path.parent} does not exist; create it first")
    with refusals(path, "cannot be opened for writing; check its permissions and that nothing else holds it"):
        connection = connect(str(path))
    try:
        _prepare(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, connect: Connect) -> sqlite3.Connection:
    """A connection that only reads a journal that must exist; engines may go on writing meanwhile."""
    _require_plain_file(path)
    if not path.exists():
        raise JournalRefused(f"{path}: there is no such journal; check the path")
    with refusals(path, "cannot be read; check its permissions, or restore it from a copy"):
        connection = connect(str(path))
        try:
            connection.execute("PRAGMA query_only = ON")
            if _require_ours(path, connection):
                raise JournalRefused(f"{path}: the file holds no journal yet; run a saga with it first")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def refusals(path: Path, way_out: str) -> Iterator[None]:
    """Turns what SQLite and the operating system raise into `JournalRefused` naming the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise JournalRefused(f"{path}: {problem}; the journal {way_out}") from problem


def lock(path: Path) -> IO[str]:
    """Takes the sole right to write, until the returned file is closed or the process ends.

    Raises `JournalRefused` naming the process that has it.
    """
    # Every name of the file leads to one lock.
    beside = Path(f"{path.resolve()}-lock")
    with refusals(path, "cannot be locked; its folder must be writable"):
        held = beside.open("a+", encoding="utf-8")
    try:
        _lock_file(held)
    except OSError:
        held.seek(0)
        owner = held.read().strip() or "unknown"
        held.close()
        raise JournalRefused(
            f"{path}: in use by another engine (process {owner}); stop that one, or use another file"
        ) from None
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


if sys.platform == "win32":  # pragma: no cover

    def _lock_file(held: IO[str]) -> None:
        import msvcrt

        # Far behind the text, because a locked byte cannot be read by others there.
        held.seek(1 << 20)
        msvcrt.locking(held.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock_file(held: IO[str]) -> None:
        import fcntl

        fcntl.flock(held.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _require_plain_file(path: Path) -> None:
    if path.is_dir():
        raise JournalRefused(f"{path}: is a folder; name a file in it")
    with refusals(path, "cannot be read; check its permissions"):
        if not path.exists():
            return
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    if start and start != _MAGIC:
        raise JournalRefused(f"{path}: is no SQLite database, so no journal of ours; name another file")


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    with refusals(
        path, "cannot be written; check that it is whole, that it is writable and the disk has room"
    ):
        fresh = _require_ours(path, connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Proves that the file can be written now, not at the first run.
        connection.execute("BEGIN IMMEDIATE")
        if fresh:
            for statement in _statements():
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _statements() -> Iterator[str]:
    statement = ""
    for line in _SCHEMA.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _require_ours(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the file is empty; raises `JournalRefused` for what is not ours or too new."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        return True
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JournalRefused(f"{path}: is a SQLite database of something else; name another file")
    if version > SCHEMA_VERSION:
        raise JournalRefused(
            f"{path}: has layout {version}, and this version reads up to {SCHEMA_VERSION}; "
            "use the version of Sagacity that wrote it, or a newer one"
        )
    return False
