"""No query of the journal looks at more than it gives: a million old runs cost nothing."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from sagacity_engine.events import RunStarted
from sagacity_engine.journal import Batch
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite import archive
from sagacity_engine.sqlite import commit as sqlite_commit
from sagacity_engine.sqlite import reads as sqlite_reads
from sagacity_engine.sqlite import requests as sqlite_requests
from sagacity_engine.sqlite.journal import SqliteJournal

SAGA = Saga(name="s", steps=(Step(name="a"),))

QUERIES = {
    "tail": sqlite_reads.TAIL,
    "events of layout 1": sqlite_reads.FIRST_LAYOUT,
    "batches": sqlite_reads.BATCHES,
    "line": sqlite_reads.LINE,
    "number": sqlite_reads.NUMBER,
    "totals": sqlite_reads.TOTALS,
    "definition": sqlite_reads.DEFINITION,
    "plan": sqlite_reads.PLAN,
    "open runs": sqlite_reads.OPEN,
    "newest": sqlite_reads.listed(),
    "newest of a status": sqlite_reads.listed("status"),
    "newest of a saga and status": sqlite_reads.listed("saga", "status"),
    "pending requests": sqlite_requests.PENDING,
    "an answer": sqlite_requests.ANSWER,
    "tails of many": sqlite_commit.TAILS,
    "archived of many": sqlite_commit.ARCHIVED,
    "to be archived": archive.CANDIDATES,
    "the last number": "SELECT ifnull(max(number), 0) FROM runs",
    "an append": sqlite_commit.STATEMENTS[4],
}

SMALL = ("totals", "requests_waiting", "lease", "json_each", "CONSTANT ROW", "(subquery")
"""What may be looked at whole: it does not grow with the runs, or it is the statement's own rows."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    journal.open()
    journal.close()
    return path


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_scans(path: Path, name: str) -> None:
    """SQLite's own plan of each query searches by an index, in the order that is asked for."""
    query = QUERIES[name]
    connection = sqlite3.connect(path)
    marks = (None,) * query.count("?")
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", marks).fetchall()]
    connection.close()
    assert steps
    for step in steps:
        whole = step.startswith("SCAN") and not any(small in step for small in SMALL)
        assert not whole, f"{name}: {step}"
        assert "TEMP B-TREE" not in step, f"{name}: {step}"


def test_many_open_runs_are_read_in_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are open, one read takes a page of them, and together they are all."""
    monkeypatch.setattr(sqlite_reads, "PAGE", 7)
    seen: list[str] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            if sql == sqlite_reads.OPEN:
                seen.append(sql)
            return super().execute(sql, *parameters)  # type: ignore[arg-type]

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Watched)

    journal = SqliteJournal(path, connect=connect)
    journal.open()

    def start(number: int) -> Batch:
        run_id, plan = f"r{number}", author_plan(SAGA)
        started = RunStarted(run_id=run_id, at=1.0, definition_hash=SAGA.definition_hash, plan=plan)
        return Batch(run_id, 1, (started,))

    async def go() -> None:
        await asyncio.gather(*(journal.append(start(number)) for number in range(30)))

    asyncio.run(go())
    assert [run.run_id for run in journal.open_runs()] == [f"r{number}" for number in range(30)]
    assert len(seen) == 5
    assert [run.run_id for run in journal.open_runs(9, after="r3")] == [
        f"r{number}" for number in range(4, 13)
    ]
    journal.close()


def test_the_writer_asks_the_file_nothing_while_all_goes_well(path: Path) -> None:
    """A commit of runs that this process began is one statement, however many batches are in it."""
    said: list[str] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            said.append(sql.split(" SELECT", maxsplit=1)[0])
            return super().execute(sql, *parameters)  # type: ignore[arg-type]

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Watched)

    journal = SqliteJournal(path, connect=connect, lease_s=3600)
    journal.open()
    plan = author_plan(SAGA)

    def start(run_id: str) -> Batch:
        started = RunStarted(run_id=run_id, at=1.0, definition_hash=SAGA.definition_hash, plan=plan)
        return Batch(run_id, 1, (started,))

    async def go() -> None:
        await journal.append(start("first"))  # The plan is new to the file.
        said.clear()
        await asyncio.gather(*(journal.append(start(f"r{number}")) for number in range(50)))

    asyncio.run(go())
    assert set(said) == {"INSERT INTO appending"}
    assert len(said) <= 2
    journal.close()
