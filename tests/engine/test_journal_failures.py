"""A disk that fails: what was refused is not there, what was acknowledged is, and later writes succeed."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import AttemptStarted, CancelRequested, Direction, RunEnded, RunStarted, Status
from sagacity_engine.journal import Batch, Request
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.sqlite.writer import QUEUE_MAX

SAGA = Saga(name="s", steps=(Step(name="a"),))
PLAN = author_plan(SAGA)
STARTED = AttemptStarted(at=2.0, step="a", direction=Direction.FORWARD, attempt=1)


def start(run_id: str) -> Batch:
    event = RunStarted(run_id=run_id, at=1.0, definition_hash=SAGA.definition_hash, plan=PLAN)
    return Batch(run_id, 1, (event,))


class Disk:
    """Connections that fail before, or after, the statements that begin as told, as often as told."""

    def __init__(self) -> None:
        self.fail: str | tuple[str, ...] | None = None
        self.times = 1
        self.arrives = False

    def connect(self, where: str) -> sqlite3.Connection:
        disk = self

        class Failing(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if disk.fail is not None and disk.times and sql.startswith(disk.fail):
                    disk.times -= 1
                    if disk.arrives:
                        super().execute(sql, *parameters)
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *parameters)

        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Failing)


def opened(path: Path, connect: Callable[[str], sqlite3.Connection]) -> SqliteJournal:
    journal = SqliteJournal(path, connect=connect, lease_s=3600)
    journal.open()
    return journal


def keep(journal: SqliteJournal, batch: Batch) -> None:
    asyncio.run(journal.append(batch))


@pytest.mark.parametrize("arrives", [False, True])
def test_a_batch_that_was_refused_can_be_repeated(tmp_path: Path, arrives: bool) -> None:
    """A batch refused by the disk is kept when offered again, whether it had reached the file or not."""
    disk = Disk()
    journal = opened(tmp_path / "runs.db", disk.connect)
    keep(journal, start("before"))
    for batch in (start("r"), Batch("before", 2, (STARTED,))):
        # After the commit, the file cannot be asked what it has either.
        disk.fail, disk.times, disk.arrives = ("INSERT INTO appending", "SELECT epoch"), 2, arrives
        with pytest.raises(JournalRefused, match=r"runs\.db: disk I/O error; the journal cannot be written"):
            keep(journal, batch)
        assert disk.times == 0
        keep(journal, batch)
    ended = Batch("before", 3, (RunEnded(at=3.0, status=Status.COMPLETED),))
    keep(journal, ended)
    assert journal.read("before") == (*start("before").events, STARTED, *ended.events)
    assert journal.read("r") == start("r").events
    assert journal.counts() == {Status.RUNNING: 1, Status.COMPLETED: 1}
    journal.close()


def test_a_commit_that_arrived_though_it_failed_is_acknowledged(tmp_path: Path) -> None:
    """When the file turns out to have the batches, nobody is told that they are lost."""
    disk = Disk()
    journal = opened(tmp_path / "runs.db", disk.connect)
    disk.fail, disk.arrives = "INSERT INTO appending", True
    keep(journal, start("r"))
    keep(journal, Batch("r", 2, (STARTED,)))
    assert journal.read("r") == (*start("r").events, STARTED)
    journal.close()


@pytest.mark.parametrize("statement", ["INSERT OR IGNORE INTO plans", "\nSELECT json_group_array"])
def test_what_fails_before_a_commit_refuses_it(tmp_path: Path, statement: str) -> None:
    """An error while a commit is being prepared refuses its batches, and only them."""
    disk = Disk()
    path = tmp_path / "runs.db"
    journal = opened(path, disk.connect)
    keep(journal, start("r"))
    journal.close()
    journal = opened(path, disk.connect)
    disk.fail = statement
    batch = start("q") if "plans" in statement else Batch("r", 2, (STARTED,))
    with pytest.raises(JournalRefused, match="disk I/O error"):
        keep(journal, batch)
    keep(journal, batch)
    assert len(journal.read(batch.run_id)) == len(batch.events) + batch.seq - 1
    journal.close()


@pytest.mark.parametrize("statement", ["UPDATE lease", "UPDATE requests", "COMMIT", "PRAGMA wal_checkpoint"])
def test_upkeep_that_fails_is_done_later(
    tmp_path: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease, an answer or a checkpoint that cannot be written now stops nobody and is tried again."""
    monkeypatch.setattr("sagacity_engine.sqlite.writer.CHECKPOINT_FRAMES", 1)
    disk = Disk()

    class Many(sqlite3.Connection):
        def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
            if disk.fail and disk.times and sql.startswith(disk.fail):
                disk.times -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return super().executemany(sql, parameters)

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if disk.fail and disk.times and sql.startswith(disk.fail):
                disk.times -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Many)

    path, now = tmp_path / "runs.db", [1000.0]
    journal = SqliteJournal(path, connect=connect, lease_s=3600, clock=lambda: now[0])
    journal.open()
    keep(journal, start("r"))
    number = journal.ask(Request.of("r", CancelRequested(at=1.0, who="ann")))
    disk.fail, now[0] = statement, 3000.0
    journal.answer(number, "no")
    keep(journal, start("q"))
    keep(journal, start("s"))
    journal.close()
    assert disk.times == 0
    reader = SqliteJournal(path, read_only=True)
    reader.open()
    assert len(reader.runs()) == 3
    assert reader.answer_of(number) == "no"
    reader.close()


def test_too_many_waiting_batches_are_refused(tmp_path: Path) -> None:
    """What the disk cannot keep up with is refused, not heaped up without end; what waits is still kept."""
    blocker = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    journal = opened(tmp_path / "runs.db", connect_patient)
    blocker.execute("BEGIN IMMEDIATE")
    outcomes: list[JournalRefused | None] = []

    async def go() -> None:
        first, last = asyncio.Event(), asyncio.Event()

        def settle(outcome: JournalRefused | None) -> None:
            outcomes.append(outcome)
            first.set()
            if len(outcomes) == QUEUE_MAX + 1000:
                last.set()

        for number in range(QUEUE_MAX + 1000):
            journal.submit(start(f"r{number}"), settle)
        await first.wait()
        blocker.execute("ROLLBACK")
        await last.wait()

    asyncio.run(go())
    blocker.close()
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert refused
    assert all(f"{QUEUE_MAX} batches wait" in str(refusal) for refusal in refused)
    assert sum(journal.counts().values()) == len(outcomes) - len(refused)
    journal.close()


def connect_patient(where: str) -> sqlite3.Connection:
    return sqlite3.connect(where, isolation_level=None, check_same_thread=False, timeout=60)
