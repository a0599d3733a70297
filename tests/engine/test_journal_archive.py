"""Finished runs move into another file: whole, once, in any order of failure, beside a running engine."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import (
    Action,
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
    OperatorActed,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.journal import Batch, JournalConflict
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.connection import connect_sqlite
from sagacity_engine.sqlite.journal import SqliteJournal

SAGA = Saga(name="s", steps=(Step(name="a"),))
PLAN = author_plan(SAGA)


def story(run_id: str, at: float, status: Status | None) -> list[Batch]:
    start: list[Event] = [
        RunStarted(
            run_id=run_id, at=at, definition_hash=SAGA.definition_hash, plan=PLAN, input={"x": "y" * 500}
        ),
        AttemptStarted(at=at, step="a", direction=Direction.FORWARD, attempt=1),
    ]
    end: list[Event] = [AttemptSucceeded(at=at + 1, step="a", direction=Direction.FORWARD, attempt=1)]
    if status is not None:
        end.append(RunEnded(at=at + 1, status=status, reason="why"))
    return [Batch(run_id, 1, tuple(start)), Batch(run_id, 3, tuple(end))]


def keep(journal: SqliteJournal, *batches: Batch) -> None:
    async def go() -> None:
        for batch in batches:
            await journal.append(batch)

    asyncio.run(go())


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


def ids(path: Path) -> list[str]:
    journal = opened(path, read_only=True)
    found = sorted(run.run_id for run in journal.runs())
    for run_id in found:
        assert journal.read(run_id)
    journal.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with runs in every state, from old to new."""
    path = tmp_path / "runs.db"
    journal = opened(path)
    journal.define(SAGA)
    keep(
        journal,
        *story("completed", 10, Status.COMPLETED),
        *story("stuck", 11, Status.NEEDS_ATTENTION),
        *story("compensated", 12, Status.COMPENSATED),
        *story("open", 13, None),
        *story("abandoned", 14, Status.ABANDONED),
        *story("new", 90, Status.COMPLETED),
    )
    journal.close()
    return path


def test_finished_runs_move_and_others_stay(path: Path, tmp_path: Path) -> None:
    """Runs that ended before the time move with plan and definition; open, new and unsettled ones stay."""
    into = tmp_path / "old.db"
    journal = opened(path)
    before = {run_id: journal.read(run_id) for run_id in ("completed", "compensated", "abandoned")}
    assert journal.archive(50, into) == 3
    assert journal.archive(50, into) == 0
    assert sorted(run.run_id for run in journal.runs()) == ["new", "open", "stuck"]
    assert journal.counts() == {Status.RUNNING: 1, Status.COMPLETED: 1, Status.NEEDS_ATTENTION: 1}
    assert (journal.run("completed"), journal.read("completed")) == (None, ())
    keep(journal, *story("later", 95, Status.COMPLETED))
    journal.close()
    archived = opened(into, read_only=True)
    for run_id, events in before.items():
        assert archived.read(run_id) == events
    line = archived.run("abandoned")
    assert line is not None
    assert (line.status, line.ended_at, line.reason) == (Status.ABANDONED, 15, "why")
    assert archived.definition(SAGA.definition_hash) == SAGA
    assert archived.counts() == {Status.COMPLETED: 1, Status.COMPENSATED: 1, Status.ABANDONED: 1}
    archived.close()


def test_a_second_archive_adds(path: Path, tmp_path: Path) -> None:
    """A limit leaves the rest for later, and the same file takes it."""
    into = tmp_path / "old.db"
    journal = opened(path)
    assert [journal.archive(50, into, limit=2), journal.archive(1e9, into), journal.archive(1e9, into)] == [
        2,
        2,
        0,
    ]
    journal.close()
    assert ids(into) == ["abandoned", "compensated", "completed", "new"]


def test_the_id_of_an_archived_run_stays_taken(path: Path, tmp_path: Path) -> None:
    """A run by an archived id is refused, alone; the others of its commit are kept."""
    journal = opened(path)
    journal.archive(50, tmp_path / "old.db")

    async def go() -> list[BaseException | None]:
        batches = (story("x", 99, None)[0], story("completed", 99, None)[0], story("y", 99, None)[0])
        return await asyncio.gather(*map(journal.append, batches), return_exceptions=True)

    first, taken, last = asyncio.run(go())
    assert (first, last) == (None, None)
    assert isinstance(taken, JournalConflict)
    assert "the run exists already, and is archived" in str(taken)
    retry = OperatorActed(at=99, action=Action.UNDO, who="ann")
    with pytest.raises(JournalConflict, match="is archived"):
        keep(journal, Batch("abandoned", 5, (retry,)))
    assert [run.run_id for run in journal.runs(before="abandoned")] == ["open", "stuck"]
    journal.close()


def test_space_is_used_again(tmp_path: Path) -> None:
    """A journal that is archived as fast as it is written does not grow."""
    path, into = tmp_path / "runs.db", tmp_path / "old.db"
    journal = opened(path)
    sizes = []
    for round_ in range(6):
        for number in range(40):
            keep(journal, *story(f"{round_}-{number}", 1, Status.COMPLETED))
        journal.archive(50, into)
        journal.close()
        sizes.append(path.stat().st_size)
        journal.open()
    journal.close()
    assert sizes[-1] <= sizes[1]
    assert into.stat().st_size > 2 * sizes[-1]


def failing(place: int) -> tuple[Callable[[str], sqlite3.Connection], list[int]]:
    """Connections of which the write number `place`, counted over all of them, fails."""
    seen = [0]

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.split(maxsplit=1)[0] in ("INSERT", "DELETE", "COMMIT", "BEGIN"):
                seen[0] += 1
                if seen[0] == place:
                    raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Failing)

    return connect, seen


def test_a_failure_at_any_place_loses_nothing(path: Path, tmp_path: Path) -> None:
    """Wherever archiving stops, each run is whole in one file or in both, and doing it again finishes it."""
    from sagacity_engine.sqlite.archive import archive

    kept, into = path.read_bytes(), tmp_path / "old.db"
    everything = ["abandoned", "compensated", "completed", "new", "open", "stuck"]
    place, failures = 0, 0
    while True:
        place += 1
        path.write_bytes(kept)
        into.unlink(missing_ok=True)
        connect, _ = failing(place)
        try:
            archive(path, 50, into, 10, connect=connect, clock=lambda: 1000.0)
            break
        except JournalRefused:
            failures += 1
        there = ids(into) if has_journal(into) else []
        assert sorted(set(ids(path) + there)) == everything
        archive(path, 50, into, 10, connect=connect_sqlite, clock=lambda: 9000.0)
        assert ids(path) == ["new", "open", "stuck"]
        assert ids(into) == ["abandoned", "compensated", "completed"]
    assert failures > 20


def has_journal(path: Path) -> bool:
    try:
        opened(path, read_only=True).close()
    except JournalRefused:
        return False
    return True


def test_a_run_that_goes_on_after_it_was_copied_is_not_deleted(path: Path, tmp_path: Path) -> None:
    """A run that was opened again after it was copied stays; archived later, its copy is completed."""
    from sagacity_engine.sqlite.archive import archive

    into, journal = tmp_path / "old.db", opened(path)
    undo = OperatorActed(at=20, action=Action.UNDO, who="ann")

    class Meddling(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA synchronous = FULL":
                keep(journal, Batch("completed", 5, (undo,)))
            return super().execute(sql, *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Meddling)

    assert archive(path, 50, into, 10, connect=connect, clock=lambda: 1000.0) == 2
    assert len(journal.read("completed")) == 5
    keep(journal, Batch("completed", 6, (RunEnded(at=21, status=Status.COMPENSATED),)))
    whole = journal.read("completed")
    assert journal.archive(50, into) == 1
    journal.close()
    archived = opened(into, read_only=True)
    assert archived.read("completed") == whole
    line = archived.run("completed")
    assert line is not None
    assert line.status is Status.COMPENSATED
    archived.close()


def test_what_must_not_be_archived_is_refused(path: Path, tmp_path: Path) -> None:
    """Into the journal itself, into one that an engine has, and into one with another run of the same id."""
    journal = opened(path)
    with pytest.raises(JournalRefused, match="is the journal itself"):
        journal.archive(50, path)
    other = opened(tmp_path / "other.db")
    keep(other, *story("completed", 77, Status.COMPLETED))
    with pytest.raises(JournalRefused, match=r"other\.db: in use by another engine"):
        journal.archive(50, tmp_path / "other.db")
    other.close()
    with pytest.raises(JournalRefused, match=r"other\.db: has another run 'completed'"):
        journal.archive(50, tmp_path / "other.db")
    assert len(journal.runs()) == 6
    journal.close()
    reader = opened(path, read_only=True)
    with pytest.raises(JournalRefused, match="not open for writing"):
        reader.archive(50, tmp_path / "old.db")
    reader.close()


def test_an_altered_run_stays(path: Path, tmp_path: Path) -> None:
    """A run that is not as it was written is left for a person, and the others are archived."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER batches_are_never_changed")
    connection.execute("UPDATE batches SET body = replace(body, 'y', 'z') WHERE number = 1")
    connection.close()
    journal = opened(path)
    assert journal.archive(50, tmp_path / "old.db") == 2
    with pytest.raises(JournalRefused, match="run 'completed', event 1 was altered"):
        journal.read("completed")
    journal.close()


def test_runs_of_layout_1_are_archived(tmp_path: Path) -> None:
    """What layout 1 wrote is encoded anew in the archive, and reads the same."""
    path, into = tmp_path / "runs.db", tmp_path / "old.db"
    connection = sqlite3.connect(path)
    dump = Path(__file__).parent / "fixtures" / "journal_layout_1.sql"
    connection.executescript(dump.read_text("utf-8"))
    connection.close()
    journal = opened(path)
    events = journal.read("done")
    assert journal.archive(1e9, into) == 1
    assert journal.run("done") is None
    journal.close()
    archived = opened(into, read_only=True)
    assert archived.read("done") == events
    archived.close()
