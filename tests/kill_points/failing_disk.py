"""A disk under SQLite that fails as a test says, on which nothing is durable before it is synced.

It is a VFS of APSW around the real one. Every write, truncation, deletion and sync of any file is counted.
The real files stay where they are when the process is killed; `leave` writes what the next process finds into
another folder, so that whatever the dead one still does (SQLite folds its log when a connection is closed)
reaches nobody. The real disk is never synced: what is durable is kept here, in memory.

After a sync that failed, what it should have made durable counts as lost for ever, though it can still be
read: the harshest of what real systems do.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from random import Random
from typing import Any

import apsw
from tests.kill_points.disk_vfs import SYNC, Change, DiskConnection, Vfs, as_sqlite3, error_of
from tests.kill_points.troubles import A_WHILE, LATER, POWER, Fault, Trouble


class FailingDisk:
    """One life's disk; `count` is how many operations it was asked for, `dead` that the process is."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.folder = folder
        self.count = 0
        self.dead = False
        self._fault = fault
        self._full_until = 0
        self._rng = Random(f"{fault}")
        self._powered = fault is not None and fault.trouble in POWER
        self._durable = {name: bytearray(content) for name, content in _read(folder).items()}
        self._ghosts: set[str] = set()  # Deleted, which the power may undo.
        self._pending: dict[str, list[Change]] = {}
        self._left: dict[str, bytes] = {}
        self._vfs = Vfs(self)
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._hear

    def connect(self, path: str) -> DiskConnection:
        """A connection whose files lie on this disk."""
        self.require_alive()
        try:
            return DiskConnection(self, apsw.Connection(path, vfs=self._vfs.name))
        except apsw.Error as problem:
            raise as_sqlite3(problem) from problem

    def close(self) -> None:
        """Takes the disk away; every connection must be closed."""
        self._vfs.unregister()
        sys.unraisablehook = self._unraisable

    def _hear(self, unraisable: Any) -> None:
        """Where SQLite carries on after an error of the disk, APSW has nobody to tell it to."""
        if not isinstance(unraisable.exc_value, apsw.Error):
            self._unraisable(unraisable)

    def leave(self, into: Path) -> None:
        """Writes what the next process finds."""
        found = self._left if self.dead else _read(self.folder)
        for name, content in found.items():
            (into / name).write_bytes(content)

    def require_alive(self) -> None:
        """Raises `sqlite3.OperationalError` once the process is dead."""
        if self.dead:
            raise sqlite3.OperationalError("the process is dead")

    def change(self, change: Change) -> None:
        """Carries out one operation, or what becomes of it."""
        if self.dead:  # The real files are nobody's any more.
            change.do()
            return
        self.count += 1
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

    def _strike(self, trouble: Trouble, change: Change) -> None:
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
                if change.kind == SYNC:
                    self._pending.pop(change.name, None)
                raise error_of(change)
            case Trouble.POWER_LOSS:
                self._cut_off(some=False)
            case Trouble.POWER_LOSS_SOME:
                self._cut_off(some=True)

    def _fill(self, change: Change, times: int) -> None:
        if change.kind != "write":  # Only what needs room can fail for want of it.
            self._do(change)
            return
        self._full_until = self.count + times - 1
        self._do(change.half())
        raise apsw.FullError("disk full")

    def _do(self, change: Change) -> None:
        change.do()
        if not self._powered:
            return
        if change.kind == SYNC:
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
        """The file, and its name: SQLite syncs the folder with the first sync of a new log or journal."""
        new = name not in self._durable or name in self._ghosts
        for gone in self._ghosts if new and name.endswith(("-wal", "-journal")) else self._ghosts & {name}:
            del self._durable[gone]
        self._ghosts &= set(self._durable)
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


def _read(folder: Path) -> dict[str, bytes]:
    """The files with something in them that lasts: SQLite makes its shared memory anew."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-shm", "-lock"))
    }
