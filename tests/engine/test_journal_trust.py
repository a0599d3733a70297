"""What a SQLite journal notices: every altered, missing and moved part of what it keeps."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import AttemptStarted, AttemptSucceeded, Direction, RunEnded, RunStarted, Status
from sagacity_engine.journal import Batch
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.journal import SqliteJournal

SAGA = Saga(name="s", steps=(Step(name="a"),))
PLAN = author_plan(SAGA)
STARTED = AttemptStarted(at=2.5, step="a", direction=Direction.FORWARD, attempt=1)
SUCCEEDED = AttemptSucceeded(at=3.5, step="a", direction=Direction.FORWARD, attempt=1, output={"é": [1]})
ENDED = RunEnded(at=4.5, status=Status.COMPLETED, reason="why")


def run_of(run_id: str, ended: bool) -> list[Batch]:
    """Two or three batches."""
    start = RunStarted(run_id=run_id, at=1.5, definition_hash=SAGA.definition_hash, plan=PLAN)
    batches = [Batch(run_id, 1, (start, STARTED)), Batch(run_id, 3, (SUCCEEDED,))]
    return [*batches, Batch(run_id, 4, (ENDED,))] if ended else batches


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed journal with one run that ended and one that is open."""
    path = tmp_path / "runs.db"
    journal = opened(path)

    async def go() -> None:
        for batch in (*run_of("done", ended=True), *run_of("going", ended=False)):
            await journal.append(batch)

    journal.define(SAGA)
    asyncio.run(go())
    journal.close()
    return path


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


def edit(path: Path, *statements: str) -> None:
    """Changes the file behind the journal's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def texts(path: Path) -> list[str]:
    """Every payload in the file: batches, plans, definitions."""
    connection = sqlite3.connect(path)
    found = [
        text
        for query in (
            "SELECT body FROM batches",
            "SELECT document FROM plans",
            "SELECT document FROM definitions",
        )
        for (text,) in connection.execute(query).fetchall()
    ]
    connection.close()
    return found


def read_everything(path: Path) -> None:
    journal = opened(path, read_only=True)
    try:
        for run_id in ("done", "going"):
            journal.read(run_id)
        if journal.definition(SAGA.definition_hash) is None:
            raise JournalRefused("the definition is missing")
    finally:
        journal.close()


def test_every_flipped_byte_of_every_payload_is_refused(path: Path) -> None:
    """No byte of a batch, a plan or a definition can change in the file without being noticed on reading."""
    whole = path.read_bytes()
    read_everything(path)
    payloads = texts(path)
    assert len(payloads) == 5 + 1 + 1
    flipped = 0
    for text in payloads:
        payload = text.encode()
        begin = whole.index(payload)
        for place in range(begin, begin + len(payload)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            with pytest.raises(JournalRefused):
                read_everything(path)
            flipped += 1
    assert flipped == sum(len(text.encode()) for text in payloads) > 500


@pytest.mark.parametrize("change", ["body = replace(body, '1', '2')", "checksum = zeroblob(16)", "seq = 9"])
def test_an_altered_batch_is_refused(path: Path, change: str) -> None:
    """A change to any part of a batch is told on reading, with run and place; other runs are untouched."""
    edit(path, f"UPDATE batches SET {change} WHERE number = 1 AND seq = 3")
    journal = opened(path)
    with pytest.raises(JournalRefused, match=r"runs\.db: run 'done', event 3 was altered or is missing"):
        journal.read("done")
    assert len(journal.read("going")) == 3
    journal.close()


@pytest.mark.parametrize(
    ("statement", "run_id", "place"),
    [
        ("DELETE FROM batches WHERE number = 1 AND seq = 1", "done", 1),
        ("DELETE FROM batches WHERE number = 1 AND seq = 3", "done", 3),
        ("DELETE FROM batches WHERE number = 1 AND seq = 4", "done", 4),
        ("DELETE FROM batches WHERE number = 2 AND seq = 3", "going", 3),
        ("DELETE FROM batches WHERE number = 2", "going", 1),
        ("UPDATE runs SET run_id = 'other' WHERE number = 1", "other", 1),
        ("UPDATE runs SET seq = 7 WHERE number = 1", "done", 5),
        ("UPDATE batches SET number = CASE number WHEN 1 THEN 5 ELSE 1 END", "done", 1),
    ],
)
def test_missing_and_moved_batches_are_refused(path: Path, statement: str, run_id: str, place: int) -> None:
    """Removing a batch, even the last of an open run, or giving it to another run is told."""
    edit(path, statement)
    journal = opened(path)
    with pytest.raises(JournalRefused, match=f"run '{run_id}', event {place} was altered or is missing"):
        journal.read(run_id)
    journal.close()


def test_a_missing_plan_is_refused(path: Path) -> None:
    """A run whose plan is not in the file is not read as something else."""
    edit(path, "DELETE FROM plans")
    journal = opened(path)
    with pytest.raises(JournalRefused, match=r"run 'done', event 1: its plan .* is missing"):
        journal.read("done")
    journal.close()


def test_an_event_of_a_later_version_is_refused(path: Path) -> None:
    """An event that this version does not know is told from an altered one."""
    body = '[["Teleported",{"at":9}]]'
    journal = opened(path)
    stored = sqlite3.connect(path)
    ((held,),) = stored.execute("SELECT checksum FROM runs WHERE run_id = 'going'").fetchall()
    stored.close()
    journal.close()
    from sagacity_engine.sqlite.rows import checksum

    digest = checksum(held, 4, body).hex()
    edit(
        path,
        f"INSERT INTO batches (number, seq, body, checksum) VALUES (2, 4, '{body}', x'{digest}')",
        f"UPDATE runs SET seq = 4, checksum = x'{digest}' WHERE number = 2",
    )
    journal = opened(path)
    with pytest.raises(JournalRefused, match=r"run 'going', event 4: .*'Teleported'; use the version"):
        journal.read("going")
    journal.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE batches SET body = ''", "append-only"),
        ("DELETE FROM batches", "append-only"),
        ("DELETE FROM runs", "only archived"),
        ("INSERT INTO events_1 VALUES ('r', 1, 'k', 1, '{}', x'')", "only read"),
    ],
)
def test_events_cannot_be_changed_by_accident(path: Path, statement: str, words: str) -> None:
    """The file itself refuses to change or delete an event."""
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=words):
        connection.execute(statement)
    connection.close()


def test_the_list_of_runs_can_be_built_from_the_events(path: Path) -> None:
    """The table of runs says nothing that the events do not."""
    from sagacity_engine.journal import line_after

    journal = opened(path)
    for run in journal.runs():
        assert run == line_after(None, journal.read(run.run_id))
    journal.close()


def test_a_record_is_the_events_fields_without_defaults() -> None:
    """The stored text of one event is the plain form of the event, its plan inside, and is read back."""
    for batch in run_of("r", ended=True):
        for event in batch.events:
            kind, text = codec.encode(event)
            assert kind == type(event).__name__
            assert "null" not in text
            assert codec.decode(kind, text) == event


def test_an_altered_line_is_refused(path: Path) -> None:
    """A status that no run can have, wherever it came from, is told from the list of runs, in words."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER run_recounted")
    connection.execute("UPDATE runs SET status = 'DONE' WHERE run_id = 'done'")
    connection.commit()
    connection.close()
    journal = opened(path, read_only=True)
    asked: tuple[Callable[[], object], ...] = (journal.runs, lambda: journal.run("done"))
    for ask in asked:
        with pytest.raises(JournalRefused, match=r"runs was altered: run 'done' is 'DONE'; restore"):
            ask()
    journal.close()
