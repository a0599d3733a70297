"""What moves a journal's runs, killed at every write: into an archive, or from layout 1 to layout 2.

No engine runs here. One `Move` is made on a disk that fails at its n-th operation, and what is left is held
against what there was; then the next process makes the same move, on the ordinary `sqlite3`.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.kill_points.failing_disk import FailingDisk
from tests.kill_points.lives import FILE
from tests.kill_points.troubles import Fault, Trouble

from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.journal import Batch
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.connection import Connect
from sagacity_engine.sqlite.journal import SqliteJournal

ARCHIVE = "old.db"
BEFORE = 50.0
"""Runs that ended before this time move."""

SAGA = Saga(name="s", steps=(Step(name="a"),))
LAYOUT_1 = Path(__file__).parents[1] / "engine" / "fixtures" / "journal_layout_1.sql"

Stories = Mapping[str, tuple[Event, ...]]
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Move:
    """What is done with the files of `begin`, and what must hold of a folder at any moment and at the end.

    `carry_out` raises `JournalRefused` where the disk does not do its part. `wrong` tells what is not as it
    must be; told that the move is `done`, also what is still to be done.
    """

    begin: Callable[[], Files]
    carry_out: Callable[[Path, Connect], None]
    wrong: Callable[[Path, bool], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Left:
    """What a fault left, and the next process after it: all that was wrong. `count` is of the disk."""

    wrong: tuple[str, ...]
    count: int
    died: bool


Told = tuple[Fault, Left]


def strike(move: Move, fault: Fault | None) -> Left:
    """Makes the move on a disk with the fault; then once more, where it does not fail."""
    with _workshop() as workshop:
        folder, after = workshop / "0", workshop / "1"
        for each in (folder, after):
            each.mkdir()
        for name, content in move.begin().items():
            (folder / name).write_bytes(content)
        disk = FailingDisk(folder, fault)
        finished = _tried(lambda: move.carry_out(folder, disk.connect))
        disk.leave(after)
        disk.close()
        wrong = [*move.wrong(_copy(after), finished and not disk.dead)]
        move.carry_out(after, connect)
        wrong += move.wrong(after, True)
        return Left(tuple(wrong), disk.count, disk.dead)


def at_every_write(move: Move, troubles: Sequence[Trouble]) -> Iterator[Told]:
    """Each of the troubles at each operation of the disk."""
    for at in range(1, strike(move, None).count + 1):
        for trouble in troubles:
            yield Fault(trouble, at), strike(move, Fault(trouble, at))


def in_turn(move: Move, troubles: Sequence[Trouble], step: int) -> Iterator[Told]:
    """One of the troubles at one in `step` operations of the disk."""
    for number, at in enumerate(range(1, strike(move, None).count + 1, step)):
        fault = Fault(troubles[number % len(troubles)], at)
        yield fault, strike(move, fault)


def connect(path: str) -> sqlite3.Connection:
    """Of a process that nobody kills; what it writes is not awaited from the disk."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_Unsynced)


# Finished runs move into an archive.


def _archive(folder: Path, connect: Connect) -> None:
    with _opened(folder / FILE, connect) as journal:
        journal.archive(BEFORE, folder / ARCHIVE)


@cache
def _runs_to_archive() -> Files:
    with _workshop() as workshop:
        with _opened(workshop / FILE, connect) as journal:
            journal.define(SAGA)
            asyncio.run(_keep(journal, [*_stories()]))
        return _files(workshop)


def _stories() -> Iterator[Batch]:
    for run_id, at, status in (
        ("completed", 10, Status.COMPLETED),
        ("stuck", 11, Status.NEEDS_ATTENTION),
        ("compensated", 12, Status.COMPENSATED),
        ("open", 13, None),
        ("new", 90, Status.COMPLETED),
    ):
        start = RunStarted(
            run_id=run_id,
            at=at,
            definition_hash=SAGA.definition_hash,
            plan=author_plan(SAGA),
            input={"x": "y" * 600},
        )
        yield Batch(
            run_id, 1, (start, AttemptStarted(at=at, step="a", direction=Direction.FORWARD, attempt=1))
        )
        done = AttemptSucceeded(at=at + 1, step="a", direction=Direction.FORWARD, attempt=1)
        yield Batch(run_id, 3, (done, *([] if status is None else [RunEnded(at=at + 1, status=status)])))


async def _keep(journal: SqliteJournal, batches: list[Batch]) -> None:
    for batch in batches:
        await journal.append(batch)


def _wrong_in_archive(folder: Path, done: bool) -> Iterator[str]:
    written = _written(_runs_to_archive)
    stayed = _read(folder / FILE)
    moved = _read(folder / ARCHIVE) if (folder / ARCHIVE).exists() else {}
    for run_id, events in written.items():
        found = [each[run_id] for each in (stayed, moved) if run_id in each]
        if not found or any(each != events for each in found):
            yield f"{run_id} is lost, or not as it was written"
    if set(moved) - {"completed", "compensated"} or set(stayed) - set(written):
        yield f"moved {sorted(moved)}, stayed {sorted(stayed)}"
    if done and (set(stayed) & set(moved) or set(moved) != {"completed", "compensated"}):
        yield f"the move is not done: moved {sorted(moved)}, stayed {sorted(stayed)}"
    yield from (f"{name} is damaged" for name in (FILE, ARCHIVE) if _damaged(folder / name))


ARCHIVING = Move(_runs_to_archive, _archive, _wrong_in_archive)


# A file of layout 1 is opened for writing.


def _carry_over(folder: Path, connect: Connect) -> None:
    with _opened(folder / FILE, connect):
        pass


@cache
def _of_layout_1(mode: str) -> Files:
    with _workshop() as workshop:
        with closing(sqlite3.connect(workshop / FILE)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.executescript(LAYOUT_1.read_text("utf-8"))
        return _files(workshop)


def _in_wal() -> Files:
    return _of_layout_1("WAL")


def _in_rollback_mode() -> Files:
    return _of_layout_1("DELETE")


def _wrong_in_layout(folder: Path, done: bool) -> Iterator[str]:
    tables = {1: {"events", "definitions", "runs"}, 2: {*LAYOUT_2_TABLES}}
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if {name for (name,) in rows if not name.startswith("sqlite_")} != tables[layout]:
        yield f"layout {layout} with tables {sorted(rows)}"
    if done and layout != 2:
        yield f"it is carried over, and has layout {layout}"
    if _read(folder / FILE) != _written(_in_wal):
        yield f"a run of layout {layout} is lost, or not as it was written"
    if _damaged(folder / FILE):
        yield "the file is damaged"


LAYOUT_2_TABLES = (
    "archived",
    "batches",
    "definitions",
    "events_1",
    "lease",
    "plans",
    "requests",
    "runs",
    "totals",
)
WITH_LOG, WITHOUT_LOG = "with a log", "without"
CARRYING_OVER = {
    WITH_LOG: Move(_in_wal, _carry_over, _wrong_in_layout),
    WITHOUT_LOG: Move(_in_rollback_mode, _carry_over, _wrong_in_layout),
}


# Files, and what is in them.


@cache
def _written(begin: Callable[[], Files]) -> Stories:
    with _workshop() as workshop:
        for name, content in begin().items():
            (workshop / name).write_bytes(content)
        return _read(workshop / FILE)


def _read(path: Path) -> Stories:
    """Every run of a journal, proved whole; none of a file in which no journal was made yet."""
    try:
        with _opened(path, connect, read_only=True) as journal:
            return {line.run_id: journal.read(line.run_id) for line in journal.runs()}
    except JournalRefused as problem:
        if "holds no journal yet" in str(problem):
            return {}
        raise


@contextmanager
def _opened(path: Path, connect: Connect, *, read_only: bool = False) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(
        path,
        read_only=read_only,
        connect=connect,
        clock=lambda: 1e9,
        lease_s=30.0,
        log_pages=0,  # Laying the log out is struck by the stories of the engine.
    )
    journal.open()
    with closing(journal):
        yield journal


def _tried(act: Callable[[], None]) -> bool:
    try:
        act()
    except JournalRefused:
        return False
    return True


def _damaged(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    return bool(found != "ok")


def _copy(folder: Path) -> Path:
    """So that looking changes nothing that the next process finds."""
    return Path(shutil.copytree(folder, folder.parent / "copy"))


def _files(folder: Path) -> Files:
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


class _Unsynced(sqlite3.Connection):
    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, *parameters)  # type: ignore[arg-type]
