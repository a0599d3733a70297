"""SQLite's way to a `Disk`: a VFS of APSW that asks it about every change, and a connection on top.

The connection raises what `sqlite3` would, and fails for ever once the process is dead.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import apsw

from sagacity_engine.sqlite.connection import BUSY_TIMEOUT_MS

_NAMES = itertools.count()
SYNC = "sync"


class Disk(Protocol):
    """Decides what becomes of each change."""

    dead: bool

    def change(self, change: Change) -> None:
        """Carries it out, or raises an `apsw.Error`."""
        ...

    def require_alive(self) -> None:
        """Raises `sqlite3.OperationalError` once the process is dead."""
        ...


class Change:
    """One operation on one file; `size` is what a truncation leaves, or whether a deletion is synced."""

    __slots__ = ("_file", "data", "kind", "name", "offset", "size")

    def __init__(
        self, kind: str, name: str, file: Any, *, data: bytes = b"", offset: int = 0, size: int = 0
    ) -> None:
        self.kind = kind
        self.name = name
        self.data = data
        self.offset = offset
        self.size = size
        self._file = file

    def do(self) -> None:
        """On the real disk."""
        match self.kind:
            case "write":
                if self.data:
                    apsw.VFSFile.xWrite(self._file, self.data, self.offset)
            case "truncate":
                apsw.VFSFile.xTruncate(self._file, self.size)
            case "delete":
                self._file()
            case _:
                pass

    def apply(self, content: bytearray) -> None:
        """To what is durable."""
        if self.kind == "truncate":
            del content[self.size :]
        elif self.data:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data

    def half(self) -> Change:
        """The operation with half of its data."""
        data = self.data[: len(self.data) // 2]
        kind = self.kind if self.kind == "write" else "nothing"
        return Change(kind, self.name, self._file, data=data, offset=self.offset)


class Vfs(apsw.VFS):
    """The real file system, in which a `Disk` decides over every change."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"failing-{next(_NAMES)}"
        self._disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            return apsw.VFSFile("", None, flags)  # A temporary file holds nothing that lasts.
        return _File(self._disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  SQLite's
        delete = super().xDelete
        file = Path(filename).name
        self._disk.change(Change("delete", file, lambda: delete(filename, syncdir), size=int(syncdir)))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = Path(path).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's
        self._disk.change(Change("write", self._name, self, data=bytes(data), offset=offset))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  SQLite's
        self._disk.change(Change("truncate", self._name, self, size=newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's
        del flags
        self._disk.change(Change(SYNC, self._name, self))


class DiskConnection:
    """An APSW connection that raises what `sqlite3` would; every call of a dead process fails."""

    def __init__(self, disk: Disk, connection: apsw.Connection) -> None:
        self._disk = disk
        self._connection = connection
        connection.setbusytimeout(BUSY_TIMEOUT_MS)

    @property
    def in_transaction(self) -> bool:
        return not self._disk.dead and self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> apsw.Cursor:
        self._disk.require_alive()
        try:
            return self._connection.execute(sql, tuple(parameters))
        except apsw.Error as problem:
            raise as_sqlite3(problem) from problem

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        self._disk.require_alive()
        try:
            return self._connection.executemany(sql, parameters)
        except apsw.Error as problem:
            raise as_sqlite3(problem) from problem

    def close(self) -> None:
        with suppress(apsw.Error):  # `sqlite3` tells nobody either that the log could not be folded.
            self._connection.close()


def as_sqlite3(problem: apsw.Error) -> sqlite3.Error:
    kind = sqlite3.DatabaseError if isinstance(problem, apsw.NotADBError) else sqlite3.OperationalError
    return kind(str(problem))


def error_of(change: Change) -> apsw.Error:
    error: Any = apsw.IOError("disk I/O error")
    codes = {
        SYNC: apsw.SQLITE_IOERR_FSYNC,
        "truncate": apsw.SQLITE_IOERR_TRUNCATE,
        "delete": apsw.SQLITE_IOERR_DELETE,
    }
    error.extendedresult = codes.get(change.kind, apsw.SQLITE_IOERR_WRITE)
    assert isinstance(error, apsw.Error)
    return error
