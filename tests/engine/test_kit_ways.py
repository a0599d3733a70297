"""The test kit at its edges: what the checker and the simulation's judge say, and what they are made of."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sagacity_engine import JournalRefused, SqliteJournal, memory_journal
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptStarted,
    Direction,
    Event,
    OperatorActed,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
)
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.hosting.recovery import Recovery
from sagacity_engine.journal import Batch, RunSummary, line_after
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import begin
from sagacity_engine.parts import Approval, Kind
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.testing import Attendant, compensation_failure_at_every_step, play, violations
from sagacity_engine.testing.failpoints import Failpoints, Failure
from sagacity_engine.testing.simulation import day
from sagacity_engine.testing.simulation.between import nesting_breaches
from sagacity_engine.testing.simulation.day import RUNS, simulate
from sagacity_engine.testing.simulation.processes import days_for, main, simulate_days
from sagacity_engine.testing.simulation.report import Report
from sagacity_engine.testing.simulation.virtual_loop import Deadlock, run_in_virtual_time

FORWARD = Direction.FORWARD
A = Step(name="a")
ONE = Saga(name="one", steps=(A,))


def start(saga: Saga = ONE, run_id: str = "r", **fields: Any) -> RunStarted:
    return RunStarted(
        run_id=run_id, at=0.0, definition_hash=saga.definition_hash, plan=author_plan(saga), **fields
    )


# People who attend to runs.


def test_an_attendant_answers_what_waits_for_an_answer() -> None:
    """A run that waits for somebody's word gets one, in its time, and comes to an end."""
    boss = Step(name="boss", kind=Kind.READ_ONLY, approval=Approval(signal="ok"))
    saga = Saga(name="ask", steps=(boss, A))
    waiting = play(saga).state
    assert (waiting.ended, waiting.steps["boss"].phase) == (None, StepPhase.AWAITING)
    event = Attendant(Random(1))(waiting, 50.0)
    assert isinstance(event, SignalReceived)
    assert event.name == "ok"
    assert 50.0 <= event.at <= 51.0
    trial = play(saga, attend=Attendant(Random(1), restless=0.0)).sound()
    assert trial.state.ended is not None
    assert [type(each) for each in trial.events["run"] if isinstance(each, SignalReceived)] == [
        SignalReceived
    ]


def test_an_attendant_lets_a_paused_run_go_on() -> None:
    """Somebody paused the run and went home: it is resumed, and completes."""
    pause = OperatorActed(at=0.0, action=Action.PAUSE, who="Asha")
    saga = Saga(name="two", steps=(A, Step(name="b")))
    assert play(saga, wishes=[(0.5, pause)]).state.ended is None
    trial = play(saga, wishes=[(0.5, pause)], attend=Attendant(Random(1), restless=0.0)).sound()
    assert trial.ended == (Status.COMPLETED, "")
    acts = [each.action for each in trial.events["run"] if isinstance(each, OperatorActed)]
    assert acts == [Action.PAUSE, Action.RESUME]


def test_an_attendant_leaves_alone_what_goes_on_by_itself() -> None:
    """A run that waits for nobody's word needs none."""
    assert Attendant(Random(1))(begin(ONE, start()), 9.0) is None


# Scripts and the checker.


def test_a_step_before_a_pivot_that_calls_nobody_turns_the_run_back_itself() -> None:
    """Nothing later can be refused before the point of no return, so the step's own lost reply has to do."""
    inner = Saga(name="inner", steps=(Step(name="i"),))
    pivot = Step(name="pay", kind=Kind.PIVOT, sub_saga=SubSaga(saga=inner), compensation=None)
    saga = Saga(name="trip", steps=(A, pivot, Step(name="z", kind=Kind.RETRIABLE)))
    script = dict(compensation_failure_at_every_step(saga))["a"]
    trial = play(saga, script).sound()
    assert (trial.ended, trial.phase("a")) == ((Status.NEEDS_ATTENTION, "a"), StepPhase.COMPENSATION_FAILED)
    assert trial.started() == ["a"]


def test_a_retry_that_nobody_paid_for_is_found() -> None:
    """The service's retry budget was spent, the event says so, and the step was tried again: I6."""
    failed = AttemptFailed(
        at=1.0,
        step="a",
        direction=FORWARD,
        attempt=1,
        error_type="Down",
        failure_class=FailureClass.TRANSIENT,
        retry_refused=True,
    )
    first, again = (
        AttemptStarted(at=at, step="a", direction=FORWARD, attempt=n) for at, n in ((0.0, 1), (60.0, 2))
    )
    found = violations(ONE, [start(), first, failed, again])
    words = "I6 step 'a' was tried again against its plan's strategy or a spent retry budget"
    assert [each for each in found if "budget" in each] == [words]


def test_an_inner_run_that_stands_under_a_compensated_one_is_found() -> None:
    """The run above says that everything was taken back: I3, unless a person had a hand in it."""
    outer: list[Event] = [start(), RunEnded(at=9.0, status=Status.COMPENSATED)]
    inner: list[Event] = [start(run_id="r/a/1", parent="r"), RunEnded(at=5.0, status=Status.COMPLETED)]
    words = "run r/a/1: I3 it stands though the run above it is COMPENSATED"
    assert list(nesting_breaches({"r": outer, "r/a/1": inner})) == [words]
    by_hand = OperatorActed(at=6.0, action=Action.RESOLVE, who="Asha", step="a")
    assert list(nesting_breaches({"r": [*outer, by_hand], "r/a/1": inner})) == []
    inner[-1] = RunEnded(at=5.0, status=Status.COMPENSATED)
    assert list(nesting_breaches({"r": outer, "r/a/1": inner})) == []


# Virtual time.


def test_what_never_comes_is_a_deadlock() -> None:
    """A wait that nothing can end is not waited for: virtual time would pass for ever."""

    async def hopeless() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="nothing is ready and no timer is set"):
        run_in_virtual_time(hopeless())


def test_a_call_from_another_thread_is_a_call() -> None:
    """There is one thread in virtual time; what is handed over as if from another is called in its turn."""
    called: list[str] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(called.append, "first")
        loop.call_soon_threadsafe(called.append, "second")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_in_virtual_time(go())
    assert called == ["first", "second"]


# The simulation, and its processes.


def test_days_add_up() -> None:
    """Several days in a row are the sum of each by itself, journals left out."""
    together = simulate_days(3, 2)
    apart = Report()
    for seed in (3, 4):
        apart.add(simulate(seed, keep_journals=True))
    assert together.document() == apart.document()
    assert (together.breaches, together.journals) == ([], {})


def test_a_process_prints_what_another_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """A child plays every so many seeds and prints its report; read again, it is the same report."""
    main(5, 9, 2)
    read = Report.read(json.loads(capsys.readouterr().out))
    expected = Report()
    for seed in (5, 7):
        expected.add(simulate(seed))
    assert read == expected


@pytest.mark.slow
def test_days_shared_out_among_processes_are_the_same_days() -> None:
    """Two processes come to what one comes to."""
    assert simulate_days(10, 3, processes=2) == simulate_days(10, 3)


def test_enough_days_for_so_many_runs() -> None:
    """A few runs are never accepted, so a day counts for one run less than it starts."""
    for runs in (1, RUNS - 1, RUNS, 1_000):
        assert days_for(runs) * (RUNS - 1) >= runs
        assert (days_for(runs) - 1) * (RUNS - 1) < runs


# Connections that fail.


def opened(path: Path, connect: Callable[[str], Any]) -> SqliteJournal:
    journal = SqliteJournal(path, connect=connect, lease_s=3600)
    journal.open()
    return journal


def statements_of(path: Path) -> int:
    """How many statements an opening and one batch take."""
    points = Failpoints()
    journal = opened(path, points.connect)
    asyncio.run(journal.append(Batch("r", 1, (start(),))))
    count = points.count
    journal.close()
    return count


def test_a_connection_fails_at_the_statement_it_was_told(tmp_path: Path) -> None:
    """Before it or though it was carried out: once, in SQLite's words, and others go through."""
    for failure, done in ((Failure.FAIL_BEFORE, 0), (Failure.FAIL_AFTER, 1)):
        points = Failpoints(3, failure)
        connection = points.connect(str(tmp_path / f"{failure.name}.db"))
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA query_only").fetchall()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            connection.execute("INSERT INTO t VALUES (3)")
        assert not failure.kills
        assert not points.dead
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2 + done,)
        assert points.count == 3
        connection.close()


def test_a_dead_process_does_nothing_more(tmp_path: Path) -> None:
    """It dies at one statement; after that none of its connections does anything, and no new one is made."""
    deaths: list[str] = []
    points = Failpoints(2, Failure.DIE_AFTER, on_death=lambda: deaths.append("died"))
    path = str(tmp_path / "t.db")
    connection = points.connect(path)
    connection.execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        connection.execute("BEGIN IMMEDIATE")
    assert Failure.DIE_AFTER.kills
    assert (points.dead, deaths, connection.in_transaction) == (True, ["died"], False)
    for use in (lambda: connection.execute("SELECT 1"), lambda: points.connect(path)):
        with pytest.raises(sqlite3.OperationalError, match="the process is dead"):
            use()
    connection.close()


def test_a_journal_survives_a_failure_at_each_of_its_first_statements(tmp_path: Path) -> None:
    """Whichever statement of an opening and a batch fails: refused or kept, and the next journal is whole."""
    for at in range(1, statements_of(tmp_path / "count.db") + 1):
        path, points = tmp_path / f"{at}.db", Failpoints(at)
        kept = True
        try:
            journal = opened(path, points.connect)
        except JournalRefused:
            kept = False
        else:
            try:
                asyncio.run(journal.append(Batch("r", 1, (start(),))))
            except JournalRefused:
                kept = False
            journal.close()
        again = SqliteJournal(path)
        again.open()
        stored = again.read("r")
        assert stored == (start(),) or not (stored or kept)
        if not stored:
            asyncio.run(again.append(Batch("r", 1, (start(),))))
        assert again.read("r") == (start(),)
        again.close()


# The simulation can fail.


def short_days(monkeypatch: pytest.MonkeyPatch) -> str:
    """What is found in a few short days, whose last hours are not waited out."""
    monkeypatch.setattr(day, "SETTLES_S_MAX", 30.0)
    return "\n".join(words for seed in range(4) for words in simulate(seed, 6).breaches)


def test_an_engine_that_stumbles_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised where nobody waits for it is an accident of the day, with its words."""

    def stumbles(self: ResourceLocks, run_id: str) -> None:
        raise RuntimeError("stumbled over a lock")

    monkeypatch.setattr(ResourceLocks, "release", stumbles)
    assert "RuntimeError: stumbled over a lock" in short_days(monkeypatch)


def test_runs_that_are_never_carried_on_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that loses its runs' places leaves them open, and what it says of them is told: I11."""
    monkeypatch.setattr(Recovery, "take_up", nothing_taken_up)
    assert "I11 it is still open: no engine knows why" in short_days(monkeypatch)


async def nothing_taken_up(self: Recovery) -> tuple[str, ...]:
    """Recovery that forgets what a former process left open."""
    return ()


def test_a_list_of_runs_that_tells_another_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is only a shortcut to the journal: where the two differ it is I8."""

    def rosy(line: RunSummary | None, events: Iterable[Event]) -> RunSummary | None:
        after = line_after(line, events)
        taken_back = after is not None and after.status is Status.COMPENSATED
        return replace(after, status=Status.COMPLETED) if after is not None and taken_back else after

    monkeypatch.setattr(memory_journal, "line_after", rosy)
    assert "I8 the list says COMPLETED, the fold COMPENSATED" in short_days(monkeypatch)
