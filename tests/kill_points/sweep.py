"""Every place where a story can be killed, and what comes of it.

A `Point` is a shape and the faults of its first lives; one more life, on the ordinary `sqlite3` and without
faults, follows, and then everything is held against what was acknowledged. Stories begin on a journal that is
there already, or, where the making of the journal itself is to be killed, on none.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.kill_points.failing_disk import FailingDisk
from tests.kill_points.lives import FILE, Ground, Told, judged, live
from tests.kill_points.shapes import SHAPES
from tests.kill_points.troubles import Fault

from sagacity_engine.sqlite.file import Durability
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.testing.failpoints import Failpoints, Failure


@dataclass(frozen=True, slots=True)
class StatementFault:
    """The trouble of one life at its statement number `at`, from 1."""

    failure: Failure
    at: int
    times: int = 1


AnyFault = Fault | StatementFault


@dataclass(frozen=True, slots=True)
class Point:
    """A shape, and what goes wrong in its first lives, one after the other."""

    shape: str
    faults: tuple[AnyFault | None, ...]
    durability: Durability = "full"
    new: bool = False  # The first life has to make the journal.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a point. `counts` holds how often each life, but for the last, changed its ground."""

    point: Point
    lost: tuple[str, ...]
    breaches: tuple[str, ...]
    ended: frozenset[str]
    counts: tuple[int, ...]
    died: tuple[bool, ...]

    @property
    def well(self) -> bool:
        """Nothing that was acknowledged is lost, and everything is as it must be."""
        return not self.lost and not self.breaches


def tell(point: Point) -> Verdict:
    """Tells the story of a point to its end."""
    told = Told(SHAPES[point.shape], point.durability)
    counts, died = [], []
    with _workshop() as workshop:
        folder = _folder(workshop, 0)
        if not point.new:
            (folder / FILE).write_bytes(empty_journal())
        for number, fault in enumerate(point.faults, start=1):
            ground = _ground(folder, fault)
            live(told, folder, ground)
            counts.append(ground.count)
            died.append(ground.dead)
            following = _folder(workshop, number)
            ground.leave(following)
            ground.close()
            folder = following
        last = StatementGround(folder, None)
        if not live(told, folder, last):
            told.wrong.append("the last life could not open the journal")
        return Verdict(
            point,
            *judged(told, folder),
            frozenset(told.ended),
            tuple(counts),
            tuple(died),
        )


class StatementGround(Failpoints):
    """Failpoints that keep what a dead process left."""

    def __init__(self, folder: Path, fault: StatementFault | None) -> None:
        self._folder = folder
        self._left: dict[str, bytes] = {}
        fault = fault or StatementFault(Failure.FAIL_BEFORE, 0)
        super().__init__(
            fault.at, fault.failure, times=fault.times, on_death=self._keep, connect=_connect_unsynced
        )

    def _keep(self) -> None:
        self._left = _files(self._folder)

    def leave(self, into: Path) -> None:
        """Writes what the next process finds."""
        for name, content in (self._left if self.dead else _files(self._folder)).items():
            (into / name).write_bytes(content)

    def close(self) -> None:
        """There is nothing to take away."""


class _Unsynced(sqlite3.Connection):
    """Nobody takes the power away here, so nothing waits for the disk."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, *parameters)


def _connect_unsynced(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_Unsynced)


def _ground(folder: Path, fault: AnyFault | None) -> Ground:
    if isinstance(fault, StatementFault):
        return StatementGround(folder, fault)
    return FailingDisk(folder, fault)


@cache
def empty_journal() -> bytes:
    """A journal without runs."""
    with _workshop() as workshop:
        journal = SqliteJournal(workshop / FILE)
        journal.open()
        journal.close()
        return (workshop / FILE).read_bytes()


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-shm", "-lock"))
    }


@contextmanager
def _workshop() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kill-points-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _folder(workshop: Path, number: int) -> Path:
    folder = workshop / str(number)
    folder.mkdir()
    return folder
