"""A disk under SQLite that fails as a test says, on which nothing is durable before it is synced.

It is a VFS of APSW around the real one. Every write, truncation, deletion and sync of any file is counted.
The real files stay where they are when the process is killed; `leave` writes what the next process finds into
another folder, so that whatever the dead one still does (SQLite folds its log when a connection is closed)
reaches nobody. The real disk is never synced: what is durable is kept here, in memory.

After a sync that failed, what it should have made durable counts as lost for ever, though it can still be
read: the harshest of what real systems do.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw

from sagacity_engine.sqlite_connection import BUSY_TIMEOUT_MS
from tests.kill_points.troubles import A_WHILE, LATER, POWER, Fault, Trouble

_NAMES = itertools.count()
_SYNC = "sync"


class FailingDisk:
    """One life's disk; `count` is how many operations it was asked for, `dead` that the process is."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.folder = folder
        self.count = 0
        self.dead = False
        self.syncs: list[int] = []  # The places of syncs.
        self._fault = fault
        self._full_until = 0
        self._rng = Random(f"{fault}")
        self._powered = fault is not None and fault.trouble in POWER
        self._durable = {name: bytearray(content) for name, content in _read(folder).items()}
        self._ghosts: set[str] = set()  # Deleted, which the power may undo.
        self._pending: dict[str, list[_Change]] = {}
        self._left: dict[str, bytes] = {}
        self._vfs = _Vfs(self)

    def connect(self, path: str) -> _Connection:
        """A connection whose files lie on this disk."""
        self.require_alive()
        try:
            return _Connection(self, apsw.Connection(path, vfs=self._vfs.name))
        except apsw.Error as problem:
            raise _as_sqlite3(problem) from problem

    def close(self) -> None:
        """Takes the disk away; every connection must be closed."""
        self._vfs.unregister()

    def leave(self, into: Path) -> None:
        """Writes what the next process finds."""
        found = self._left if self.dead else _read(self.folder)
        for name, content in found.items():
            (into / name).write_bytes(content)

    def require_alive(self) -> None:
        """Raises `sqlite3.OperationalError` once the process is dead."""
        if self.dead:
            raise sqlite3.OperationalError("the process is dead")

    def change(self, change: _Change) -> None:
        """Carries out one operation, or what becomes of it."""
        if self.dead:  # The real files are nobody's any more.
            change.do()
            return
        self.count += 1
        if change.kind == _SYNC:
            self.syncs.append(self.count)
        if self._full_until >= self.count and change.kind == "write":
            self._do(change.half())
            raise apsw.FullError("disk full")
        fault = self._fault
        if fault is None or self.count < fault.at:
            self._do(change)
        elif self.count == fault.at:
            self._strike(fault.trouble, change)
        elif fault.trouble is Trouble.POWER_LOSS_AFTER_ERROR and self.count == fault.at + LATER:
            self._cut_off(some=True)
        else:
            self._do(change)

    def _strike(self, trouble: Trouble, change: _Change) -> None:
        match trouble:
            case Trouble.KILL_BEFORE:
                self._kill(_read(self.folder))
            case Trouble.KILL_AFTER:
                self._do(change)
                self._kill(_read(self.folder))
            case Trouble.TORN:
                self._do(change.half())
                self._kill(_read(self.folder))
            case Trouble.FULL | Trouble.FULL_A_WHILE:
                self._fill(change, A_WHILE if trouble is Trouble.FULL_A_WHILE else 1)
            case Trouble.ERROR | Trouble.POWER_LOSS_AFTER_ERROR:
                if change.kind == _SYNC:
                    self._pending.pop(change.name, None)
                raise _error(change)
            case Trouble.POWER_LOSS:
                self._cut_off(some=False)
            case Trouble.POWER_LOSS_SOME:
                self._cut_off(some=True)

    def _fill(self, change: _Change, times: int) -> None:
        if change.kind != "write":  # Only what needs room can fail for want of it.
            self._do(change)
            return
        self._full_until = self.count + times - 1
        self._do(change.half())
        raise apsw.FullError("disk full")

    def _do(self, change: _Change) -> None:
        change.do()
        if not self._powered:
            return
        if change.kind == _SYNC:
            self._become_durable(change.name)
        elif change.kind == "delete":
            self._pending.pop(change.name, None)
            if change.size:  # The folder is synced with it.
                self._durable.pop(change.name, None)
            elif change.name in self._durable:
                self._ghosts.add(change.name)
        else:
            self._pending.setdefault(change.name, []).append(change)

    def _become_durable(self, name: str) -> None:
        """The file and its name."""
        if name in self._ghosts:
            self._ghosts.discard(name)
            del self._durable[name]
        held = self._durable.setdefault(name, bytearray())
        for each in self._pending.pop(name, ()):
            each.apply(held)

    def _cut_off(self, *, some: bool) -> None:
        """The power is lost: what was not synced is gone, or only some of it."""
        found = {name: bytearray(content) for name, content in self._durable.items()}
        for name in self._ghosts:
            if some and self._rng.random() < 0.5:
                del found[name]
        for name, changes in self._pending.items():
            if not some or name in self._ghosts & set(found):
                continue  # Another file of this name is still there.
            for each in changes:
                if self._rng.random() < 0.5:
                    torn = self._rng.random() < 0.2
                    (each.half() if torn else each).apply(found.setdefault(name, bytearray()))
        self._kill({name: bytes(content) for name, content in found.items()})

    def _kill(self, left: dict[str, bytes]) -> None:
        self._left = left
        self.dead = True
        raise apsw.IOError("the process is dead")


class _Change:
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

    def half(self) -> _Change:
        """The operation with half of its data."""
        data = self.data[: len(self.data) // 2]
        kind = self.kind if self.kind == "write" else "nothing"
        return _Change(kind, self.name, self._file, data=data, offset=self.offset)


class _Vfs(apsw.VFS):
    """The real file system, in which a `FailingDisk` decides over every change."""

    def __init__(self, disk: FailingDisk) -> None:
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
        self._disk.change(
            _Change("delete", file, lambda: delete(filename, syncdir), size=int(syncdir))
        )


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, path: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = Path(path).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's
        self._disk.change(_Change("write", self._name, self, data=bytes(data), offset=offset))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  SQLite's
        self._disk.change(_Change("truncate", self._name, self, size=newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's
        del flags
        self._disk.change(_Change(_SYNC, self._name, self))


class _Connection:
    """An APSW connection that raises what `sqlite3` would; every call of a dead process fails."""

    def __init__(self, disk: FailingDisk, connection: apsw.Connection) -> None:
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
            raise _as_sqlite3(problem) from problem

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        self._disk.require_alive()
        try:
            return self._connection.executemany(sql, parameters)
        except apsw.Error as problem:
            raise _as_sqlite3(problem) from problem

    def close(self) -> None:
        with suppress(apsw.Error):  # `sqlite3` tells nobody either that the log could not be folded.
            self._connection.close()


def _as_sqlite3(problem: apsw.Error) -> sqlite3.Error:
    kind = sqlite3.DatabaseError if isinstance(problem, apsw.NotADBError) else sqlite3.OperationalError
    return kind(str(problem))


def _error(change: _Change) -> apsw.Error:
    error = apsw.IOError("disk I/O error")
    codes = {
        _SYNC: apsw.SQLITE_IOERR_FSYNC,
        "truncate": apsw.SQLITE_IOERR_TRUNCATE,
        "delete": apsw.SQLITE_IOERR_DELETE,
    }
    error.extendedresult = codes.get(change.kind, apsw.SQLITE_IOERR_WRITE)
    return error


def _read(folder: Path) -> dict[str, bytes]:
    """The files with something in them that lasts: SQLite makes its shared memory anew."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", "-lock"))
    }
