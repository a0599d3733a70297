"""`sagacity sagas`: looking at the runs of a real journal, and acting on them with and without an engine."""

import io
import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from sagacity_api.cli import main
from sagacity_api.cli.sagas_words import event_words
from sagacity_api.oversight import Fate, Oversight
from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Compensation,
    Direction,
    Event,
    Launch,
    OutcomeUnknown,
    RetryPolicy,
    RunRefused,
    Saga,
    SagaFreedom,
    SqliteJournal,
    Status,
    StepError,
    StepFreedom,
    author_plan,
    define,
)
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
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
    UnknownReason,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.sqlite.lease import lock
from sagacity_engine.strategy import Strategy
from sagacity_engine.sync_engine import SyncEngine

Ended = tuple[int, str, str]
Run = Callable[..., Ended]
TWICE = RetryPolicy(initial_interval_s=0.0, maximum_attempts=2)
ONCE = RetryPolicy(maximum_attempts=1)


class Services:
    """The participants; `mended` makes those that refuse do what they are asked."""

    def __init__(self) -> None:
        self.mended = False

    def refuses(self, call: Call) -> dict[str, Any]:
        if not self.mended:
            raise StepError("Offline", "the desk\x1b[31m is\nclosed")
        return {"done": call.step}

    def loses_the_reply(self, call: Call) -> dict[str, Any]:
        if not self.mended:
            raise OutcomeUnknown("no reply")
        return {"done": call.step}

    def done(self, call: Call) -> dict[str, Any]:
        return {"done": call.step}

    def sagas(self) -> list[BoundSaga]:
        """Sagas that need somebody for different reasons, wait, want the same resource, or are nested."""
        trip = define("trip")
        undo = Compensation(retry=TWICE)
        trip.step(name="book", retry=TWICE, compensate=self.refuses, compensation=undo)(self.done)
        trip.step(name="pay", retry=TWICE, compensate=self.done)(self.refuses)
        sale = define("sale")
        sale.step(name="hold", compensate=self.done)(self.done)
        sale.step(name="charge", kind="pivot", retry=ONCE)(self.loses_the_reply)
        visit = define("visit")
        visit.approval("visa", expires_after_s=86_400)
        plain = define("plain")
        plain.step(name="note", compensate=self.done)(self.done)
        tour = define("tour")
        tour.sub_saga(trip, name="leg")
        late = define("late", locks=["desk"])
        late.step(name="sell", kind="pivot")(self.done)
        late.step(name="tell", kind="retriable", retry=ONCE, after=["sell"])(self.refuses)
        slow = define("slow", locks=["desk"])
        in_an_hour = RetryPolicy(initial_interval_s=3600.0, maximum_attempts=3)
        slow.step(name="look", kind="read_only", retry=in_an_hour)(self.refuses)
        return [each.bind() for each in (trip, sale, visit, plain, tour, late, slow)]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process: its exit code, stdout and stderr."""
    monkeypatch.setenv("LOGNAME", "asha")

    def command(*arguments: object) -> Ended:
        code = main.run(["sagas", *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that no engine has: three runs with a failed undo, one with a doubtful pivot, and others."""
    path = tmp_path_factory.mktemp("played") / "runs.db"
    with SyncEngine(SqliteJournal(path), Services().sagas()) as engine:
        for number in range(3):
            engine.run("trip", {"number": number}, run_id=f"trip-{number}")
        engine.run("sale", run_id="sale-1")
        engine.run("plain", run_id="plain-1")
        engine.start("visit", run_id="visit-1")
    return path


@pytest.fixture
def runs_db(played: Path, tmp_path: Path) -> Path:
    """A copy of that journal."""
    return Path(shutil.copy(played, tmp_path))


def engine_on(path: Path, services: Services) -> SyncEngine:
    return SyncEngine(SqliteJournal(path), services.sagas(), shutdown_s=1.0)


def wait_until_it_backs_off(engine: SyncEngine, run_id: str) -> None:
    while engine.state(run_id).steps["look"].phase is not StepPhase.BACKING_OFF:
        time.sleep(0.01)


def wait_for_inner_run(engine: SyncEngine) -> None:
    """Until the run inside `tour-1` has been started by it, and has ended."""
    while True:
        try:
            engine.result("tour-1/leg/1")
        except RunRefused:
            time.sleep(0.01)
        else:
            return


def last_event(path: Path, run_id: str) -> Event:
    return all_events(path, run_id)[-1]


def all_events(path: Path, run_id: str) -> tuple[Event, ...]:
    journal = SqliteJournal(path, read_only=True)
    journal.open()
    try:
        return journal.read(run_id)
    finally:
        journal.close()


def test_listing(run: Run, runs_db: Path) -> None:
    """Newest first, a line each, then the counts of the whole journal; 3 for what needs somebody."""
    code, out, err = run("list", runs_db)
    lines = out.splitlines()
    assert (code, err) == (3, "")
    assert [line.split()[0] for line in lines[1:7]] == [
        "visit-1",
        "plain-1",
        "sale-1",
        "trip-2",
        "trip-1",
        "trip-0",
    ]
    assert "book" in lines[4]
    assert "its compensation failed for good" in lines[4]
    assert lines[-1] == "in the whole journal 6 runs: 1 RUNNING, 1 COMPLETED, 4 NEEDS_ATTENTION"
    assert "\x1b" not in out


def test_listing_a_part(run: Run, runs_db: Path) -> None:
    """Status, saga, limit and `before` narrow the list; the exit code is about the saga asked for."""
    code, out, err = run("list", runs_db, "--attention", "--limit", 2)
    assert (code, [line.split()[0] for line in out.splitlines()[1:3]]) == (3, ["sale-1", "trip-2"])
    assert err == "older ones: --before trip-2\n"
    told = json.loads(run("list", runs_db, "--attention", "--before", "trip-2", "--json")[1])
    assert [line["run_id"] for line in told["runs"]] == ["trip-1", "trip-0"]
    assert told["before"] is None
    assert run("list", runs_db, "--saga", "plain")[0] == 0
    code, out, _ = run("list", runs_db, "--status", "completed", "--saga", "trip", "--json")
    assert (code, json.loads(out)["runs"]) == (3, [])
    assert run("list", runs_db, "--status", "COMPLETED", "--saga", "visit")[1].startswith("in the whole")


def test_a_listing_as_json(run: Run, runs_db: Path) -> None:
    """A line's fields are those of the journal's list, and counts are by status."""
    told = json.loads(run("list", runs_db, "--json", "--limit", 1)[1])
    assert set(told) == {"runs", "counts", "before"}
    assert told["counts"] == {"RUNNING": 1, "COMPLETED": 1, "NEEDS_ATTENTION": 4}
    assert told["before"] == "visit-1"
    assert set(told["runs"][0]) == {
        "run_id",
        "saga",
        "definition_hash",
        "status",
        "started_at",
        "ended_at",
        "reason",
        "step",
    }


def test_showing(run: Run, runs_db: Path) -> None:
    """The story has plan, steps, what happened in words, why somebody is needed, what may be done."""
    code, out, err = run("show", runs_db, "trip-1")
    assert (code, err) == (3, "")
    assert "run trip-1 of trip, version 1: NEEDS_ATTENTION" in out
    assert "no advisor is configured" in out
    assert "book: undo 2 is refused, Offline: the desk [31m is closed (unknown)" in out
    assert "book needs somebody: its compensation failed for good" in out
    assert f"sagacity sagas retry {runs_db} trip-1 book" in out
    assert "# undo book again, with all its attempts" in out
    assert "\x1b" not in out
    assert run("show", runs_db, "plain-1")[0] == 0


def test_showing_as_json(run: Run, runs_db: Path) -> None:
    """The document has the whole story; the events themselves come when they are asked for."""
    code, out, _ = run("show", runs_db, "sale-1", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["step"]) == (3, "NEEDS_ATTENTION", "charge")
    assert [step["phase"] for step in told["steps"]] == ["succeeded", "uncertain"]
    assert told["attention"][0]["step"] == "charge"
    assert told["advice"]["fallback"] is True
    assert told["authors_plan"] is True
    assert told["outputs"] == {"hold": {"done": "hold"}}
    assert "events" not in told
    told = json.loads(run("show", runs_db, "sale-1", "--json", "--events")[1])
    assert [event["kind"] for event in told["events"]][::6] == ["RunStarted"]
    assert len(told["events"]) == len(told["timeline"]) == 6
    _, raw, _ = run("show", runs_db, "sale-1", "--events")
    assert raw.splitlines()[0].startswith("1 RunStarted {")
    assert len(raw.splitlines()) == 6


OFFERED = {
    "trip-1": {"retry", "resolve", "abandon"},
    "sale-1": {"retry", "skip", "resolve", "abandon"},
    "visit-1": {"signal", "pause", "cancel"},
    "plain-1": {"undo"},
    "paused": {"signal", "resume", "cancel"},
    "slow-1": {"retry", "skip", "pause", "cancel"},
    "late-1": {"retry", "skip", "redrive", "abandon"},
    "tour-1": {"pause", "cancel"},
    "tour-1/leg/1": {"retry", "resolve", "abandon"},
}


@pytest.mark.parametrize("run_id", OFFERED)
def test_what_is_offered_can_be_done(run_id: str, run: Run, runs_db: Path, services: Services) -> None:
    """What `show` offers can be copied, once the reason is said, and is never refused by the run."""
    with engine_on(runs_db, services) as engine:
        engine.start("tour", run_id="tour-1")
        engine.start("visit", run_id="paused")
        engine.pause("paused", who="asha")
        if run_id == "late-1":  # Both want the desk.
            engine.run("late", run_id="late-1")
        if run_id == "slow-1":
            engine.start("slow", run_id="slow-1")
            wait_until_it_backs_off(engine, "slow-1")
        wait_for_inner_run(engine)
    offered = json.loads(run("show", runs_db, run_id, "--json")[1])["next"]
    assert {each["command"].split()[2] for each in offered} == OFFERED[run_id]
    for each in offered:
        words = shlex.split(each["command"])
        assert words[:2] == ["sagacity", "sagas"]
        if "..." in words:
            assert run(*words[2:])[0] == 2
            words[words.index("...")] = "somebody looked"
        code, out, _ = run(*words[2:], "--dry-run")
        assert (code, "would be done" in out) == (0, True)


def test_what_a_run_waits_for_is_told(run: Run, runs_db: Path, services: Services) -> None:
    """A run in a queue names the resource it waits for, one that backs off says until when."""
    with engine_on(runs_db, services) as engine:
        engine.start("slow", run_id="slow-1", context={"season": "dry"})
        engine.start("late", run_id="late-1")
        wait_until_it_backs_off(engine, "slow-1")
    code, out, _ = run("show", runs_db, "slow-1")
    assert (code, 'context: {"season": "dry"}' in out) == (0, True)
    assert "look is tried again at 20" in out
    assert "it waits for desk" in run("show", runs_db, "late-1")[1]


def test_an_advised_plan_is_told(run: Run, tmp_path: Path, services: Services) -> None:
    """What the advice changed stands beside the author's number, with the advice's reasons."""

    class MoreAttempts:
        async def advise(self, saga: Saga, launch: Launch) -> Advice:
            own = author_plan(saga)
            [step] = own.steps
            more = replace(own, steps=(replace(step, retry=replace(step.retry, maximum_attempts=4)),))
            return Advice(plan=more, advice_id="a-7", model_version="m-3", reasons=("it often\nrecovers",))

    saga = define("free", freedom=SagaFreedom(retries=True))
    bounds = StepFreedom(maximum_attempts=(1, 5))
    saga.step(name="look", kind="read_only", retry=TWICE, freedom=bounds)(services.done)
    path = tmp_path / "free.db"
    engine = SyncEngine(SqliteJournal(path), [saga.bind()], advisor=MoreAttempts(), holdout_share=0.0)
    with engine:
        engine.run("free", run_id="r")
    _, out, _ = run("show", path, "r")
    assert "plan: advised, in stages look" in out
    assert "advice: a-7 by model m-3; arm advised, assigned with probability 1" in out
    assert "  it often recovers" in out
    assert "2 -> 4" in out
    assert "the run starts under the advised plan" in out


def test_a_risky_offer_says_so(run: Run, runs_db: Path) -> None:
    """Trying a step again whose first try may have worked, and which is not idempotent, carries a warning."""
    _, out, _ = run("show", runs_db, "sale-1")
    assert "# try charge again, with all its attempts: it may take effect twice" in out
    assert "twice" not in run("show", runs_db, "trip-1")[1]


def test_an_inner_run_is_named(run: Run, runs_db: Path, services: Services) -> None:
    """The story of an outer run names the run inside it, and where a person is waited for."""
    with engine_on(runs_db, services) as engine:
        engine.start("tour", run_id="tour-1")
        wait_for_inner_run(engine)
    code, out, _ = run("show", runs_db, "tour-1")
    assert code == 0
    assert "the saga inside leg is run tour-1/leg/1: NEEDS_ATTENTION" in out
    assert f"sagacity sagas show {runs_db} tour-1/leg/1" in out
    assert "it is a step of run tour-1" in run("show", runs_db, "tour-1/leg/1")[1]


def test_a_long_story_is_told_from_both_ends(run: Run, tmp_path: Path, services: Services) -> None:
    """Of a very long timeline the middle is left out, and said to be; the raw events are all there."""
    saga = define("stubborn")
    stubborn = RetryPolicy(initial_interval_s=0.0, maximum_attempts=150)
    saga.step(name="look", kind="read_only", retry=stubborn)(services.refuses)
    with SyncEngine(SqliteJournal(tmp_path / "long.db"), [saga.bind()]) as engine:
        engine.run("stubborn", run_id="r")
    _, out, _ = run("show", tmp_path / "long.db", "r")
    assert "(102 events are left out here; --events prints all)" in out
    assert len(run("show", tmp_path / "long.db", "r", "--events")[1].splitlines()) == 302


DECIDED = {
    "retry": (["retry", "trip-0", "book"], Action.RETRY, "book"),
    "resolve": (["resolve", "trip-0", "book", "--why", "by phone"], Action.RESOLVE, "book"),
    "abandon": (["abandon", "trip-0", "--why", "too old"], Action.ABANDON, ""),
    "skip": (["skip", "sale-1", "charge", "--why", "paid", "--output", '{"id": 7}'], Action.SKIP, "charge"),
    "undo": (["undo", "plain-1"], Action.UNDO, ""),
    "pause": (["pause", "visit-1"], Action.PAUSE, ""),
}


@pytest.mark.parametrize("name", DECIDED)
def test_deciding_without_an_engine(name: str, run: Run, runs_db: Path) -> None:
    """The person's event alone is written, with who and why; nothing is started."""
    (verb, run_id, *rest), action, step = DECIDED[name]
    before = all_events(runs_db, run_id)
    code, out, err = run(verb, runs_db, run_id, *rest)
    assert (code, err) == (0, "")
    assert out == f"{run_id}: {verb}: in the journal; the run goes on when an engine opens it\n"
    after = all_events(runs_db, run_id)
    assert after[:-1] == before
    event = after[-1]
    assert isinstance(event, OperatorActed)
    assert (event.action, event.step, event.who) == (action, step, "asha")
    assert event.at >= before[-1].at
    assert event.why == (rest[rest.index("--why") + 1] if "--why" in rest else "")
    assert event.output == ({"id": 7} if verb == "skip" else None)


def test_the_next_engine_carries_decisions_on(run: Run, runs_db: Path, services: Services) -> None:
    """What was decided while no engine was there happens as soon as one opens the journal."""
    assert run("retry", runs_db, "trip-0", "book", "--who", "ravi")[0] == 0
    assert run("skip", runs_db, "sale-1", "charge", "--why", "it was paid", "--output", '"paid"')[0] == 0
    assert run("abandon", runs_db, "trip-1", "--why", "too old")[0] == 0
    assert "asha gave it up; it ends when an engine opens the journal" in run("show", runs_db, "trip-1")[1]
    assert run("signal", runs_db, "visit-1", "visa", "--payload", '{"until": 2030}')[0] == 0
    assert run("undo", runs_db, "plain-1")[0] == 0
    services.mended = True
    with engine_on(runs_db, services) as engine:
        ended = {run_id: engine.result(run_id) for run_id in ("trip-0", "sale-1", "trip-1", "visit-1")}
        assert engine.result("plain-1").status is Status.COMPENSATED
    assert {run_id: result.status for run_id, result in ended.items()} == {
        "trip-0": Status.COMPENSATED,
        "sale-1": Status.COMPLETED,
        "trip-1": Status.ABANDONED,
        "visit-1": Status.COMPLETED,
    }
    assert ended["sale-1"].outputs["charge"] == "paid"
    assert ended["visit-1"].outputs["visa"]["payload"] == {"until": 2030}
    assert run("redrive", runs_db, "trip-0", "--why", "the desk is open")[0] == 0
    with engine_on(runs_db, services) as engine:
        assert engine.result("trip-0").status is Status.COMPLETED


def test_signals_and_cancellations(run: Run, runs_db: Path, services: Services) -> None:
    """A signal may reject, a cancellation names who and why, a pause stands until the run is resumed."""
    with engine_on(runs_db, services) as engine:
        engine.start("visit", run_id="visit-2")
    assert run("signal", runs_db, "visit-1", "visa", "--reject")[0] == 0
    assert run("pause", runs_db, "visit-2", "--why", "lunch")[0] == 0
    assert "it is paused since" in run("show", runs_db, "visit-2")[1]
    assert run("resume", runs_db, "visit-2")[0] == 0
    assert run("cancel", runs_db, "visit-2", "--why", "not needed")[0] == 0
    event = last_event(runs_db, "visit-2")
    assert isinstance(event, CancelRequested)
    assert (event.who, event.why) == ("asha", "not needed")
    assert "it turned back: cancelled by asha: not needed" in run("show", runs_db, "visit-2")[1]
    with engine_on(runs_db, services) as engine:
        assert "rejected by asha" in engine.result("visit-1").reason
        assert engine.result("visit-2").status is Status.COMPENSATED


REFUSED = {
    "retry of a step that succeeded": (["retry", "sale-1", "hold"], "step 'hold' is succeeded"),
    "retry of a run that turned back": (["retry", "trip-0", "pay"], "redrive it once it has ended"),
    "skip of an undo": (["skip", "trip-0", "book", "--why", "x"], "what can be done to it is retry, resolve"),
    "resolve of a completed run": (["resolve", "plain-1", "note", "--why", "x"], "it has ended: COMPLETED"),
    "no such step": (["retry", "trip-0", "bok"], "it has no step 'bok'; the steps are book, pay"),
    "abandon of a completed run": (["abandon", "plain-1", "--why", "x"], "it has ended: COMPLETED"),
    "redrive before the undo": (["redrive", "trip-0", "--why", "x"], "retry or resolve it first"),
    "redrive of a completed run": (
        ["redrive", "plain-1", "--why", "x"],
        "needs attention, or was compensated",
    ),
    "cancel of an ended run": (["cancel", "plain-1"], "it has ended: COMPLETED"),
    "signal nobody waits for": (["signal", "visit-1", "vise"], "the signals of this saga are visa"),
    "resume of a run that goes on": (["resume", "visit-1"], "it is not paused"),
    "pause of an ended run": (["pause", "trip-0"], "it has ended: NEEDS_ATTENTION"),
    "undo of a run that is not completed": (["undo", "trip-0"], "only a completed run is taken back"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_decisions_write_nothing(name: str, run: Run, runs_db: Path) -> None:
    """What the run has something against exits with 5 and says the way out; the file stays as it was."""
    (verb, run_id, *rest), expected = REFUSED[name]
    before, events = runs_db.read_bytes(), all_events(runs_db, run_id)
    code, out, err = run(verb, runs_db, run_id, *rest)
    assert (code, out, err.count("\n")) == (5, "", 1)
    assert err.startswith(f"sagacity: run {run_id!r}: {verb} refused: ")
    assert expected in err
    code, out, _ = run(verb, runs_db, run_id, *rest, "--dry-run")
    assert (code, expected in out) == (5, True)
    told = json.loads(run(verb, runs_db, run_id, *rest, "--json")[1])
    assert [each["outcome"] for each in told["runs"]] == ["refused"]
    assert (runs_db.read_bytes(), all_events(runs_db, run_id)) == (before, events)


BAD_INPUT = {
    "no journal": (["list", "none.db"], "there is no such journal"),
    "a folder": (["list", "."], "is a folder"),
    "no such run": (["show", "{db}", "trp"], "there is no run 'trp'"),
    "no such run to act on": (["retry", "{db}", "trp", "book"], "'sagacity sagas list"),
    "no such run before": (["list", "{db}", "--before", "trp"], "has no run 'trp'"),
    "no run": (["pause", "{db}"], "give its ID, or --all"),
    "no step": (["retry", "{db}", "trip-0"], "give STEP after the run's ID"),
    "no signal": (["signal", "{db}", "visit-1"], "give its NAME"),
    "no reason": (["abandon", "{db}", "trip-0"], "--why"),
    "an empty reason": (["abandon", "{db}", "trip-0", "--why", "..."], "say why in words"),
    "nobody": (["pause", "{db}", "visit-1", "--who", " "], "name the person"),
    "a reason too long": (["pause", "{db}", "visit-1", "--why", "x" * 2001], "at most 2000"),
    "output that is no JSON": (
        ["skip", "{db}", "sale-1", "charge", "--why", "x", "--output", "{7}"],
        "is no JSON",
    ),
    "payload that is no JSON": (["signal", "{db}", "visit-1", "visa", "--payload", "NaN"], "no JSON"),
    "no such status": (["list", "{db}", "--status", "LOST"], "--status"),
    "a status that lists do not have": (["list", "{db}", "--status", "COMPENSATING"], "list those"),
    "two statuses": (["list", "{db}", "--attention", "--status", "COMPLETED"], "contradict"),
    "a run and all": (["pause", "{db}", "visit-1", "--all", "--status", "RUNNING"], "both given"),
    "all without a status": (["pause", "{db}", "--all"], "--all needs --status"),
    "a selection without all": (["pause", "{db}", "visit-1", "--saga", "visit"], "for --all"),
    "all without a yes": (["pause", "{db}", "--all", "--status", "RUNNING"], "say --yes"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_exits_2(name: str, run: Run, runs_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be meant ends with 2 and one line that names it; nothing is written."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    arguments, expected = BAD_INPUT[name]
    before = runs_db.read_bytes()
    code, out, err = run(*(each.replace("{db}", str(runs_db)) for each in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert runs_db.read_bytes() == before


def test_deciding_about_many(run: Run, runs_db: Path) -> None:
    """A batch is foretold without writing, then carried out, and each run's outcome is told."""
    select = [
        "--all",
        "--status",
        "NEEDS_ATTENTION",
        "--saga",
        "trip",
        "--step",
        "book",
        "--reason",
        "OFFLINE",
    ]
    before = runs_db.read_bytes()
    code, out, err = run("retry", runs_db, *select, "--dry-run")
    assert (code, err) == (0, "nothing was written\n")
    assert out.splitlines() == [
        f"trip-{number}: retry would be done, then: book: undo 3 begins" for number in (2, 1, 0)
    ]
    told = json.loads(run("retry", runs_db, *select, "--dry-run", "--json")[1])
    assert told["dry_run"] is True
    assert told["runs"][0] == {
        "run_id": "trip-2",
        "outcome": "would be done",
        "why": "",
        "follows": ["book: undo 3 begins"],
    }
    assert runs_db.read_bytes() == before
    code, out, err = run("retry", runs_db, *select, "--yes", "--json")
    assert (code, err) == (0, "3 runs: 3 written\n")
    assert json.loads(out) == {
        "action": "retry",
        "dry_run": False,
        "runs": [{"run_id": f"trip-{n}", "outcome": "written", "why": ""} for n in (2, 1, 0)],
    }
    assert [last_event(runs_db, f"trip-{n}").__class__ for n in range(3)] == [OperatorActed] * 3


def test_a_batch_that_is_partly_refused(run: Run, runs_db: Path) -> None:
    """Some refused is 3, all refused is 5, none meant is 0; what can be done is done."""
    select = ["--all", "--status", "NEEDS_ATTENTION", "--yes"]
    code, out, err = run("resolve", runs_db, *select, "--saga", "sale", "--why", "it never happened")
    assert (code, out.startswith("sale-1: resolve: in the journal")) == (0, True)
    code, _, err = run("redrive", runs_db, *select, "--why", "again")
    assert code == 5
    assert "3 runs: 3 refused" in err
    assert run("resolve", runs_db, "trip-1", "book", "--why", "by phone")[0] == 0
    code, out, err = run("pause", runs_db, "--all", "--status", "RUNNING", "--yes")
    assert (code, out.count("in the journal")) == (0, 3)
    code, out, err = run("pause", runs_db, "--all", "--status", "RUNNING", "--yes", "--dry-run")
    assert (code, out.count("it is paused already")) == (5, 3)
    assert run("resume", runs_db, "visit-1")[0] == 0
    code, _, err = run("pause", runs_db, "--all", "--status", "RUNNING", "--yes")
    assert (code, "1 written, 2 refused" in err) == (3, True)
    code, out, err = run("pause", runs_db, "--all", "--status", "RUNNING", "--saga", "none", "--yes")
    assert (code, out, err) == (0, "no run is meant\n", "")


def test_a_signal_for_many(run: Run, runs_db: Path, services: Services) -> None:
    """With --all the first word after the journal is the signal's name."""
    with engine_on(runs_db, services) as engine:
        engine.start("visit", run_id="visit-2")
    select = ["--all", "--status", "RUNNING", "--saga", "visit", "--yes"]
    code, out, _ = run("signal", runs_db, "visa", *select)
    assert (code, out.count("in the journal")) == (0, 2)
    event = last_event(runs_db, "visit-2")
    assert isinstance(event, SignalReceived)
    assert (event.name, event.approve, event.who) == ("visa", True, "asha")


class Terminal(io.StringIO):
    """Standard input where somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130), ("", 130)])
def test_many_runs_are_asked_about(
    answer: str, code: int, run: Run, runs_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a batch shows whom it means and asks; anything but yes does nothing."""
    before = runs_db.read_bytes()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ended, _, err = run("retry", runs_db, "--all", "--status", "NEEDS_ATTENTION", "--saga", "trip")
    assert ended == code
    assert f"retry 3 runs of {runs_db}? [y/N]" in err
    assert "trip-2 of trip, NEEDS_ATTENTION its compensation failed" in err
    assert (runs_db.read_bytes() == before) is (code != 0)


def test_deciding_beside_an_engine(run: Run, runs_db: Path, services: Services) -> None:
    """The engine that has the journal carries the decision out, and its refusals are told as such."""
    with engine_on(runs_db, services) as engine:
        services.mended = True
        code, out, _ = run("retry", runs_db, "trip-0", "book", "--wait", 60)
        assert (code, out) == (0, "trip-0: retry: accepted by the engine that has the journal\n")
        assert engine.result("trip-0").status is Status.COMPENSATED
        code, _, err = run("retry", runs_db, "trip-0", "book", "--wait", 60)
        assert (code, "it has ended: COMPENSATED" in err) == (5, True)
        select: list[Any] = [
            "--all",
            "--status",
            "NEEDS_ATTENTION",
            "--saga",
            "trip",
            "--yes",
            "--json",
            "--wait",
            60,
        ]
        code, out, _ = run("retry", runs_db, *select)
        assert (code, [each["outcome"] for each in json.loads(out)["runs"]]) == (0, ["accepted"] * 2)
        assert engine.result("trip-2").status is Status.COMPENSATED
        assert run("list", runs_db)[0] == 3


def test_the_engine_has_the_last_word(run: Run, runs_db: Path) -> None:
    """A run whose definition an engine does not know is refused there, in the engine's words."""
    with SyncEngine(SqliteJournal(runs_db), Services().sagas()[1:2]):
        code, _, err = run("retry", runs_db, "trip-0", "book", "--wait", 60)
    assert code == 5
    assert "is not registered" in err


def test_a_process_that_does_not_answer_is_not_pushed_aside(
    run: Run, runs_db: Path, services: Services
) -> None:
    """Without an answer in time the code is 4, and the request waits for whoever answers next."""
    held = lock(runs_db)  # As a process has it that sleeps: its lease may have run out.
    assert held is not None
    code, out, err = run("retry", runs_db, "trip-0", "book", "--wait", 0.1)
    assert (code, out) == (4, "")
    assert "request 1 stays queued for it" in err
    held.close()
    services.mended = True
    with engine_on(runs_db, services) as engine:
        assert (
            run("pause", runs_db, "visit-1", "--wait", 60)[0] == 0
        )  # Answered after the request that waited.
        assert engine.result("trip-0").status is Status.COMPENSATED


def test_a_lease_without_a_lock_is_honoured_too(run: Run, runs_db: Path) -> None:
    """An owner that took the journal over from a hanging one has no lock yet; it is asked all the same."""
    with closing(sqlite3.connect(runs_db, isolation_level=None)) as file:
        file.execute("UPDATE lease SET owner = '1', renewed_at = 1e12, lease_s = 10, locked = 0")
    code, _, err = run("retry", runs_db, "trip-0", "book", "--wait", 0)
    assert (code, "request 1 stays queued" in err) == (4, True)


def test_a_journal_that_cannot_be_written(run: Run, runs_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When neither writing nor asking is possible, the code is 1 and the journal's words are told."""
    monkeypatch.setattr("sagacity_engine.sqlite.requests.REQUESTS_MAX", 0)
    held = lock(runs_db)
    assert held is not None
    code, out, err = run("retry", runs_db, "trip-0", "book")
    held.close()
    assert (code, out) == (1, "")
    assert "retry failed: " in err
    assert "requests are waiting" in err


def test_a_damaged_run_is_named(run: Run, runs_db: Path) -> None:
    """A run that was altered cannot be shown or decided about; the others can."""
    with closing(sqlite3.connect(runs_db, isolation_level=None)) as file:
        file.execute("DROP TRIGGER batches_are_never_changed")
        file.execute("UPDATE batches SET body = replace(body, 'Offline', 'Online') WHERE number = 1")
    code, out, err = run("show", runs_db, "trip-0")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "'trip-0'" in err
    code, out, err = run("retry", runs_db, "--all", "--status", "NEEDS_ATTENTION", "--saga", "trip", "--yes")
    assert (code, out.count("in the journal")) == (1, 2)
    assert "run 'trip-0': retry failed: " in err
    assert "3 runs: 2 written, 1 failed" in err
    code, out, _ = run("retry", runs_db, "trip-0", "book", "--dry-run")
    assert (code, "would be refused" in out) == (5, True)


def test_a_clock_behind_the_run(runs_db: Path) -> None:
    """A decision is never dated before what the run has been through, whatever our clock says."""
    last_at = last_event(runs_db, "trip-0").at
    event = OperatorActed(at=0.0, action=Action.RETRY, who="asha", step="book")
    with Oversight(runs_db, now=lambda: 0.0) as oversight:
        [outcome] = oversight.decide([("trip-0", event)], 1.0)
    assert outcome.fate is Fate.WRITTEN
    assert last_event(runs_db, "trip-0").at == last_at


NASTY = "a\x1b[31m\nb"
UNDO: dict[str, Any] = {"at": 1.0, "step": "book", "direction": Direction.UNDO, "attempt": 2}
WORDS: list[tuple[Event, str]] = [
    (LocksAcquired(at=1.0), "holds every resource"),
    (AttemptStarted(**UNDO), "book: undo 2 begins"),
    (AttemptHedged(at=1.0, step="book", attempt=1), "beside the slow attempt 1"),
    (AttemptSucceeded(**UNDO), "book: undo 2 succeeds"),
    (
        AttemptFailed(
            **UNDO,
            error_type="Busy",
            message=NASTY,
            terminal=True,
            retry_after_s=3.0,
            retry_refused=True,
            strategy=Strategy.STANDARD_COMPENSATION,
        ),
        "Busy: a [31m b (unknown, never to be retried, retry after 3 s, the service's retry budget is spent,",
    ),
    (AttemptUnknown(**UNDO, reason=UnknownReason.TIMED_OUT), "ends, outcome unknown (timed out)"),
    (
        ProbeAnswered(at=1.0, step="book", attempt=1, answer=Answer.DID_NOT_HAPPEN, message=NASTY),
        "probe 1 answers: did not happen (a [31m b)",
    ),
    (SignalReceived(at=1.0, name=NASTY, approve=False), "somebody rejects a [31m b"),
    (DeadlineReached(at=1.0), "the deadline passes"),
    (CancelRequested(at=1.0, who=NASTY, why=NASTY), "a [31m b asks to cancel the run: a [31m b"),
    (OperatorActed(at=1.0, action=Action.SKIP, who="asha", step="book"), "asha skips book"),
    (RolledBack(at=1.0, savepoint="book"), "forward again from book"),
    (RunEnded(at=1.0, status=Status.ABANDONED, reason=NASTY), "the run ends ABANDONED: a [31m b"),
]


def test_every_event_has_words(services: Services) -> None:
    """Each kind of event is told in one line, without control characters, whatever foreign text it holds."""
    saga = services.sagas()[0].saga
    plan = author_plan(saga)
    started = RunStarted(run_id="r", at=1.0, definition_hash="h", plan=plan, parent=NASTY)
    told = [(started, "under the author's plan, inside run a [31m b"), *WORDS]
    assert {type(event) for event, _ in told} == set(get_args(Event))
    for event, expected in told:
        words = event_words(saga, event)
        assert expected in words
        assert words.isprintable()


@pytest.fixture(scope="module")
def engine_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process whose engine has a journal; one of its runs waits for a signal."""
    path = tmp_path_factory.mktemp("engine") / "runs.db"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield path
        child.stdin.close()
        assert child.stdout.read() == "COMPLETED\n"
    assert child.returncode == 0


CHILD = """
import sys
from sagacity_engine import SqliteJournal, define
from sagacity_engine.sync_engine import SyncEngine

visit = define("visit")
visit.approval("visa")
with SyncEngine(SqliteJournal(sys.argv[1]), [visit.bind()]) as engine:
    engine.start("visit", run_id="visit-1")
    print("ready", flush=True)
    sys.stdin.read()
    print(engine.state("visit-1").status.value, flush=True)
"""


@pytest.mark.slow
def test_an_engine_in_another_process(run: Run, engine_process: Path) -> None:
    """Looking and deciding go beside an engine of another process, which answers within the wait."""
    path = engine_process
    code, out, _ = run("show", path, "visit-1")
    assert (code, "visa waits for somebody's answer" in out) == (0, True)
    code, _, err = run("resume", path, "visit-1", "--wait", 60)
    assert (code, "it is not paused" in err) == (5, True)
    code, out, _ = run("signal", path, "visit-1", "visa", "--wait", 60)
    assert (code, out) == (0, "visit-1: signal: accepted by the engine that has the journal\n")
