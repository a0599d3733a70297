"""The journal's write-ahead log is laid out before it is needed, and nothing depends on that."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import Batch, SagaRefused, SqliteJournal, author_plan
from sagacity_engine.events import RunStarted
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.connection import connect_sqlite

SAGA = Saga(name="one", steps=(Step(name="a"),))


def started(run_id: str) -> Batch:
    """The start of a run."""
    plan = author_plan(SAGA)
    event = RunStarted(run_id=run_id, at=1.0, definition_hash=SAGA.definition_hash, plan=plan)
    return Batch(run_id, 1, (event,))


def keep(journal: SqliteJournal, run_id: str) -> None:
    """Appends the start of a run."""
    asyncio.run(journal.append(started(run_id)))


def log_bytes(path: Path) -> int:
    """How long the log is."""
    return path.with_name(path.name + "-wal").stat().st_size


class Full:
    """A connection on whose disk there is no room for the log that is laid out."""

    def __init__(self, path: str) -> None:
        self._connection = connect_sqlite(path)
        self.close = self._connection.close
        self.executemany = self._connection.executemany

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        if "zeroblob" in sql:
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, parameters)


def test_the_log_has_its_length_from_the_beginning(tmp_path: Path) -> None:
    """Opening makes the log as long as was asked for, adds no table, and closing leaves nothing of it."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path, log_pages=200)
    journal.open()
    assert log_bytes(path) >= 200 * 4096
    journal.close()
    assert path.stat().st_size < 50 * 4096
    assert sorted(each.name for each in tmp_path.glob("runs.db*")) in (
        ["runs.db"],
        ["runs.db", "runs.db-lock"],
    )
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'filling'").fetchone() == (0,)
    connection.close()


def test_a_log_may_begin_with_nothing(tmp_path: Path) -> None:
    """With no pages asked for, the log grows as it is written, and everything is kept alike."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path, log_pages=0)
    journal.open()
    keep(journal, "r")
    assert log_bytes(path) < 60 * 4096
    assert journal.read("r") == started("r").events
    journal.close()


def test_commits_go_where_the_log_was_laid_out(tmp_path: Path) -> None:
    """Commits that fit into the log leave it as long as it was."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path, log_pages=400)
    journal.open()
    before = log_bytes(path)
    for number in range(20):
        keep(journal, f"r{number}")
    assert log_bytes(path) == before
    journal.close()
    journal.open()
    assert sum(journal.counts().values()) == 20
    journal.close()


def test_a_disk_without_room_for_the_log_refuses_nothing(tmp_path: Path) -> None:
    """Where the log cannot be laid out the journal opens all the same, and keeps what fits."""
    journal = SqliteJournal(tmp_path / "runs.db", connect=Full)
    journal.open()
    keep(journal, "r")
    assert journal.read("r") == started("r").events
    journal.close()


def test_a_negative_length_is_refused(tmp_path: Path) -> None:
    """A log of less than nothing makes no sense."""
    with pytest.raises(SagaRefused, match=r"log_pages is -1; it must be 0 or more pages"):
        SqliteJournal(tmp_path / "runs.db", log_pages=-1)
