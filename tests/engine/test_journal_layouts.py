"""Journals of every layout that was ever written are read, carried on, and refused only when too new."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.errors import FailureClass, JournalRefused
from sagacity_engine.events import (
    Action,
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
    UnknownReason,
)
from sagacity_engine.journal import Batch, Request
from sagacity_engine.plan import Plan, StepPlan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.sqlite.lease import lock
from sagacity_engine.strategy import OnFailure, Strategy

FIXTURES = Path(__file__).parent / "fixtures"
LAYOUT_2 = FIXTURES / "batches_layout_2.txt"
FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as layout 1 left it: a run that completed, one that is open, one that needs attention."""
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "journal_layout_1.sql").read_text("utf-8"))
    connection.close()
    return path


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


def keep(journal: SqliteJournal, *batches: Batch) -> None:
    async def go() -> None:
        for batch in batches:
            await journal.append(batch)

    asyncio.run(go())


@pytest.mark.parametrize("read_only", [False, True])
def test_layout_1_is_read(path: Path, read_only: bool) -> None:
    """Every run of layout 1 is read and listed; opened for reading, the file stays as it is."""
    before = path.read_bytes()
    journal = opened(path, read_only=read_only)
    done = journal.read("done")
    assert [type(event).__name__ for event in done[:2]] == ["RunStarted", "AttemptStarted"]
    assert isinstance(done[0], RunStarted)
    assert (done[0].input, done[0].plan.names) == (
        {"city": "Panají", "nights": 3},
        ("hotel", "flight", "pay"),
    )
    assert done[2] == AttemptSucceeded(
        at=1001, step="hotel", direction=FORWARD, attempt=1, output={"room": [1, None, "é"]}
    )
    assert (len(done), len(journal.read("open")), len(journal.read("stuck"))) == (8, 6, 7)
    assert [run.run_id for run in journal.runs()] == ["open", "stuck", "done"]
    assert [run.run_id for run in journal.runs(saga="trip", before="open")] == ["stuck", "done"]
    assert [run.run_id for run in journal.open_runs()] == ["open"]
    assert journal.counts() == {Status.RUNNING: 1, Status.COMPLETED: 1, Status.NEEDS_ATTENTION: 1}
    assert journal.requests() == ()
    saga = journal.definition(done[0].definition_hash)
    assert saga is not None
    assert saga.names == ("hotel", "flight", "pay")
    journal.close()
    if read_only:
        assert path.read_bytes() == before


def test_layout_1_is_carried_on(path: Path) -> None:
    """Runs of layout 1 go on, end, are opened again, and are whole after it; their ids stay taken."""
    journal = opened(path)
    undo = AttemptStarted(at=1007, step="hotel", direction=UNDO, attempt=1)
    undone = AttemptSucceeded(at=1008, step="hotel", direction=UNDO, attempt=1)
    before = journal.read("open")
    keep(
        journal,
        Batch("open", 7, (undo,)),
        Batch("open", 8, (undone, RunEnded(at=1008, status=Status.COMPENSATED))),
        Batch("stuck", 8, (OperatorActed(at=1020, action=Action.RETRY, who="ann", step="hotel"),)),
    )
    with pytest.raises(JournalRefused, match="the run exists already"):
        keep(journal, Batch("done", 1, before[:1]))
    journal.close()
    journal = opened(path)
    assert journal.read("open")[:7] == (*before, undo)
    assert len(journal.read("open")) == 9
    assert len(journal.read("stuck")) == 8
    assert [run.run_id for run in journal.open_runs()] == ["stuck"]
    assert journal.counts() == {Status.RUNNING: 1, Status.COMPLETED: 1, Status.COMPENSATED: 1}
    journal.ask(Request.of("stuck", CancelRequested(at=1, who="ann")))
    journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET body = replace(body, 'flight', 'fright') WHERE run_id = 'open' AND seq = 4",
        "UPDATE {} SET at = at + 1 WHERE run_id = 'open' AND seq = 4",
        "DELETE FROM {} WHERE run_id = 'open' AND seq = 4",
    ],
)
@pytest.mark.parametrize("carried_over", [False, True])
def test_an_altered_event_of_layout_1_is_refused(path: Path, change: str, carried_over: bool) -> None:
    """What was altered before or after the file was carried over is told, with run and place."""
    if carried_over:
        opened(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER events_are_never_changed")
    connection.execute("DROP TRIGGER events_are_never_deleted")
    connection.execute(change.format("events_1" if carried_over else "events"))
    connection.close()
    for read_only in (True, False):
        journal = opened(path, read_only=read_only)
        with pytest.raises(JournalRefused, match="run 'open', event 4 was altered or is missing"):
            journal.read("open")
        assert len(journal.read("done")) == 8
        journal.close()


def test_a_file_that_an_older_version_has_open_is_left_alone(path: Path) -> None:
    """Layout 1 knows no lease: while its lock is held, the file is not carried over."""
    held = lock(path)
    assert held is not None
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(path)
    held.close()
    opened(path).close()


def test_a_carrying_over_that_fails_leaves_layout_1(path: Path) -> None:
    """The change of layout is one transaction: without room for it, the file stays as it was."""

    def full(where: str) -> sqlite3.Connection:
        connection = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
        [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    with pytest.raises(JournalRefused, match="disk is full"):
        opened(path, connect=full)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (21,)
    connection.close()
    journal = opened(path)
    assert len(journal.read("done")) == 8
    journal.close()


def test_layout_1_takes_no_requests(path: Path) -> None:
    """Asking needs an engine of this version to have opened the file once, and says so."""
    with pytest.raises(JournalRefused, match="older layout, without requests; open it with an engine once"):
        SqliteJournal(path).ask(Request.of("open", CancelRequested(at=1, who="ann")))


def every_event() -> tuple[Event, ...]:
    """One of each kind, with every field set."""
    retry = RetryPolicy(maximum_attempts=4, initial_interval_s=0.5, non_retryable_error_types=("gone",))
    step = StepPlan(
        name="pay",
        after=("hotel",),
        start_to_close_timeout_s=2.5,
        retry=retry,
        on_failure=OnFailure.all(Strategy.FORWARD_RECOVERY),
    )
    plan = Plan(saga="trip", definition_hash="d" * 64, steps=(step,))
    start = RunStarted(
        run_id="r",
        at=1.5,
        definition_hash="d" * 64,
        plan=plan,
        input={"city": "Panají"},
        context={"tier": 2},
        arm="model",
        propensity=0.5,
        fallback=False,
        advice_id="a1",
        model_version="m1",
        reasons=("cheaper",),
        locks=("room:7",),
        parent="p",
        traceparent="00-01-02-01",
    )
    at_pay: dict[str, Any] = {"at": 2.5, "step": "pay", "attempt": 1}
    return (
        start,
        LocksAcquired(at=2.0),
        AttemptStarted(direction=FORWARD, **at_pay),
        AttemptHedged(**at_pay),
        AttemptSucceeded(direction=FORWARD, output={"é": [1, None]}, **at_pay),
        AttemptFailed(
            direction=UNDO,
            error_type="full",
            message="no",
            failure_class=FailureClass.TRANSIENT,
            jitter=0.25,
            retry_after_s=3.0,
            terminal=True,
            retry_refused=True,
            strategy=Strategy.ROLLBACK_TO_SAVEPOINT,
            **at_pay,
        ),
        AttemptUnknown(
            direction=FORWARD,
            reason=UnknownReason.HEARTBEAT_LOST,
            message="?",
            jitter=0.5,
            retry_refused=True,
            strategy=Strategy.STANDARD_COMPENSATION,
            **at_pay,
        ),
        ProbeAnswered(answer=Answer.HAPPENED, output=7, message="yes", jitter=0.125, **at_pay),
        SignalReceived(at=3.0, name="go", approve=False, payload=[1], who="ann"),
        DeadlineReached(at=4.0),
        CancelRequested(at=4.5, who="ann", why="rain"),
        OperatorActed(at=5.0, action=Action.SKIP, who="ann", why="paid by hand", step="pay", output="x"),
        RolledBack(at=5.5, savepoint="hotel"),
        RunEnded(at=6.0, status=Status.ABANDONED, reason="no use", step="pay"),
    )


def test_every_event_of_layout_2_is_read_for_ever() -> None:
    """The texts of layout 2 mean the events that they were first written for, and are still written."""
    plan_document, *bodies = LAYOUT_2.read_text("utf-8").splitlines()
    events = every_event()
    assert {type(event).__name__ for event in events} == set(codec.KINDS)
    assert len(bodies) == len(events)
    start = events[0]
    assert isinstance(start, RunStarted)
    for body, event in zip(bodies, events, strict=True):
        text, plan = codec.encode_batch((event,))
        assert text == body
        assert plan is None or plan.document == plan_document
        name = codec.plan_text(start.plan).hash
        assert codec.decode_batch(body, {name: start.plan}.__getitem__) == (event,)
    kept = codec.PlanText(codec.plan_text(start.plan).hash, plan_document)
    assert codec.read_plan_text(kept) == start.plan
