"""Who may write to a journal: one process at a time, told by a lease in the file with a fencing token.

Taking the journal adds one to its `epoch`, and every commit says which epoch it is of: once another process
has taken over, the former owner's next commit is refused by the file itself, whatever that process believes.
So no clock has to be right for the journal to be safe; clocks only decide when a takeover is polite.

An owner also holds a lock on a file beside the journal, which the operating system drops when its process
ends, however it ends. Three cases follow. The owner closed, or its lock is free: taken at once. It is alive
and renews its lease: refused. It hangs, so that its lease ran out while its lock is held: taken over without
the lock, which is then taken as soon as it is free. Takers race for one transaction, and one of them wins.

A process that is stopped in the middle of a commit holds SQLite's own lock on the file: nobody can write, and
so nobody take over, until it goes on or ends. File systems that do not honour locks are out of what is
promised.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sagacity_engine.batch import JournalFenced
from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite.connection import Connection, refusals, transaction

RENEWALS = 3
"""How often a lease is renewed within its time."""


class Lease:
    """The right to write, from `take` until `give_back` or until another process takes it."""

    def __init__(self, path: Path, lease_s: float, clock: Callable[[], float]) -> None:
        self.epoch = 0
        self._path = path
        self._lease_s = lease_s
        self._clock = clock
        self._renew_at = 0.0
        self._lock = lock(path) if not path.is_dir() and path.parent.is_dir() else None

    @property
    def locked(self) -> bool:
        """Whether no other process holds the lock, so that no earlier owner is alive."""
        return self._lock is not None

    @property
    def due(self) -> bool:
        """Whether `renew` would renew."""
        return self._clock() >= self._renew_at

    @property
    def renewal_s(self) -> float:
        """The longest time between two calls of `renew`."""
        return self._lease_s / RENEWALS

    def require_locked(self) -> None:
        """Raises `JournalRefused` when an older version, which knows no lease, may have the file."""
        if self._lock is None:
            raise in_use(self._path, lock_owner(self._path))

    def take(self, connection: Connection) -> None:
        """Becomes the owner; raises `JournalRefused` naming the one who is, and when that may change."""
        with transaction(connection):
            epoch, owner, renewed_at, lease_s, was_locked = connection.execute(
                "SELECT epoch, owner, renewed_at, lease_s, locked FROM lease"
            ).fetchone()
            left_s = renewed_at + lease_s - self._clock()
            gone = not owner or (self.locked and was_locked)
            if not gone and left_s > 0:
                raise in_use(self._path, owner, left_s)
            self.epoch = epoch + 1
            self._write(connection, str(os.getpid()))

    def renew(self, connection: Connection) -> None:
        """Renews the lease if that is due; raises `JournalFenced` when another process has taken it."""
        if not self.due:
            return
        if self._lock is None:
            self._lock = lock(self._path)
        with transaction(connection):
            self.require(connection)
            self._write(connection, str(os.getpid()))

    def require(self, connection: Connection) -> None:
        """Raises `JournalFenced` when another process has taken the lease."""
        epoch, owner = connection.execute("SELECT epoch, owner FROM lease").fetchone()
        if epoch != self.epoch:
            raise JournalFenced(
                f"{self._path}: was taken over by process {owner or 'that has closed it'} while this one did "
                "not answer; stop this engine, the other one carries its runs on"
            )

    def give_back(self, connection: Connection) -> None:
        """Lets others in at once, unless one of them has taken over already."""
        connection.execute("UPDATE lease SET owner = '' WHERE epoch = ?", (self.epoch,))

    def unlock(self) -> None:
        """Lets the lock go; the lease itself stays until it runs out or is given back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write(self, connection: Connection, owner: str) -> None:
        now = self._clock()
        connection.execute(
            "UPDATE lease SET epoch = ?, owner = ?, renewed_at = ?, lease_s = ?, locked = ?",
            (self.epoch, owner, now, self._lease_s, int(self.locked)),
        )
        self._renew_at = now + self.renewal_s


def in_use(path: Path, owner: str, left_s: float | None = None) -> JournalRefused:
    """The refusal of a journal that another process has."""
    until = f", or wait: unless it renews its lease, that ends in {left_s:.1f} s" if left_s else ""
    return JournalRefused(
        f"{path}: in use by another engine (process {owner}); stop that one, use another file{until}"
    )


def lock(path: Path) -> IO[str] | None:
    """The lock beside the journal, held until the file is closed; None when another process has it."""
    held = _beside(path)
    try:
        _lock_file(held)
    except OSError:
        held.close()
        return None
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def lock_owner(path: Path) -> str:
    """The process that took the lock last."""
    with _beside(path) as held:
        held.seek(0)
        return held.read().strip() or "unknown"


def _beside(path: Path) -> IO[str]:
    # Every name of the file leads to one lock.
    with refusals(path, "cannot be locked; its folder must be writable"):
        return Path(f"{path.resolve()}-lock").open("a+", encoding="utf-8")


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
