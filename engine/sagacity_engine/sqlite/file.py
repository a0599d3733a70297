"""The file behind the SQLite journal: whose it is, which layout it has, and how it is opened.

Opening refuses, each with its own sentence, a folder, a file that is no SQLite database, a database of
something else, one written by a newer version, and one that cannot be written. A file of layout 1 is carried
over when it is opened for writing, and is read as it is otherwise. Who may write is `lease`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite import layout_1
from sagacity_engine.sqlite.connection import Connect, Connection, refusals, roll_back, transaction
from sagacity_engine.sqlite.schema import (
    APPLICATION_ID,
    EVENTS_1,
    LAYOUT_2,
    SCHEMA_VERSION,
    TRIGGERS,
    statements,
)

Durability = Literal["full", "normal"]
"""`full`: what is acknowledged survives everything. `normal`: it survives the death of the process, but what
was acknowledged in the last moments before the machine itself stops may be gone, also the intents of calls
that were made; such calls are then made again, or never undone. After an error of the disk, a power cut may
even damage the file."""


PAGE_BYTES = 4096
"""What SQLite makes a page of a new file."""


def open_writer(
    path: Path, connect: Connect, durability: Durability, *, may_migrate: Callable[[], None]
) -> Connection:
    """A connection that may write, to a journal that is created when the file is new or empty.

    `may_migrate` raises when a file of layout 1 must not be carried over now.
    """
    require_no_folder(path)
    if not path.parent.is_dir():
        raise JournalRefused(f"{path}: the folder {path.parent} does not exist; create it first")
    with refusals(path, "cannot be opened for writing; check its permissions and that nothing else holds it"):
        connection = connect(str(path))
    try:
        with refusals(
            path, "cannot be written; check that it is whole, that it is writable and the disk has room"
        ):
            _prepare(path, connection, durability, may_migrate)
    except BaseException:
        connection.close()
        raise
    return connection


def lay_out_log(connection: Connection, pages: int) -> None:
    """Makes the log so many pages long before it is needed; where that cannot be done it grows as needed.

    A commit that overwrites a part of the log takes half as long as one that makes its file longer. What a
    transaction drops out of a small cache goes to the log, also when it is undone in the end.
    """
    if pages < 1:
        return
    (cached,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute("PRAGMA cache_size = 10")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE filling (zeros BLOB)")
        connection.execute("INSERT INTO filling VALUES (zeroblob(?))", (PAGE_BYTES * pages,))
    except (sqlite3.Error, OSError):
        pass  # If the disk is full, those who want to write on it will hear of it.
    finally:
        roll_back(connection)
        connection.execute(f"PRAGMA cache_size = {cached}")


def open_reader(path: Path, connect: Connect) -> Connection:
    """A connection that only reads a journal that must exist; engines may go on writing meanwhile."""
    require_no_folder(path)
    if not path.exists():
        raise JournalRefused(f"{path}: there is no such journal; check the path")
    with refusals(path, "cannot be read; check its permissions, or restore it from a copy"):
        connection = connect(str(path))
        try:
            if not (version := layout(path, connection)):
                raise JournalRefused(f"{path}: the file holds no journal yet; run a saga with it first")
            if version == 1:
                layout_1.view_as_layout_2(connection)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def require_no_folder(path: Path) -> None:
    """Raises `JournalRefused` for a folder.

    The file itself is opened by SQLite alone: its locks belong to the process, and the system drops all of
    them when the process closes any other descriptor of the file. Another process would then find the file
    unused and remove the log that is being written.
    """
    if path.is_dir():
        raise JournalRefused(f"{path}: is a folder; name a file in it")


def layout(path: Path, connection: Connection) -> int:
    """The layout of the file, 0 when it is empty; raises `JournalRefused` for what is not ours or too new."""
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as problem:
        if "file is not a database" not in str(problem):
            raise
        raise JournalRefused(
            f"{path}: is no SQLite database, so no journal of ours; name another file"
        ) from None
    if tables == 0:
        return 0
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JournalRefused(f"{path}: is a SQLite database of something else; name another file")
    if version > SCHEMA_VERSION:
        raise JournalRefused(
            f"{path}: has layout {version}, and this version reads up to {SCHEMA_VERSION}; "
            "use the version of Sagacity that wrote it, or a newer one"
        )
    return int(version)


def _prepare(
    path: Path, connection: Connection, durability: Durability, may_migrate: Callable[[], None]
) -> None:
    layout(path, connection)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":  # SQLite says so instead of failing, for instance after an error of the disk.
        raise JournalRefused(f"{path}: cannot have a write-ahead log (SQLite keeps {mode!r}); check its disk")
    connection.execute(f"PRAGMA synchronous = {durability}")
    # The writer decides when the log is folded into the file: never inside a commit.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    with transaction(connection):
        found = layout(path, connection)  # Again: another process may have made it meanwhile.
        if found == 1:
            may_migrate()
        if found < SCHEMA_VERSION:
            _bring_to_layout_2(connection, found)


def _bring_to_layout_2(connection: Connection, found: int) -> None:
    """In the transaction that is open: all of it or nothing."""
    if found == 1:
        layout_1.set_aside(connection)
    else:
        _run(connection, EVENTS_1)
    _run(connection, LAYOUT_2)
    if found == 1:
        layout_1.carry_over(connection)
    _run(connection, TRIGGERS)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: Connection, script: str) -> None:
    for statement in statements(script):
        connection.execute(statement)
