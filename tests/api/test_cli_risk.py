"""`sagacity risk`: the running sagas of a real journal, the most hopeless first."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from math import log1p
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.cli import main
from sagacity_api.runs_at_risk import runs_at_risk
from sagacity_data import AttemptRow, DatasetStore
from sagacity_data.rows import AttemptOutcome, Row, RunRow
from sagacity_engine import (
    BoundSaga,
    Call,
    Direction,
    FailureClass,
    Kind,
    RetryPolicy,
    Saga,
    SqliteJournal,
    Status,
    Step,
    StepError,
    define,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.sync_engine import SyncEngine
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle, save_bundle
from sagacity_models.case_calibration import PlattMap
from sagacity_models.case_outcome import CaseModelKind, CaseOutcomeModel
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_models.live_risk_rates import LiveRates, Rate
from sagacity_models.live_risk_remaining import PROBABILITIES, RemainingKind, RemainingTime, ResidualLaw
from sagacity_models.prefix_vocabulary import PrefixVocabulary
from sagacity_training.live_risk_runs import live_runs

Ended = tuple[int, str, str]
Run = Callable[..., Ended]

AT_ONCE = RetryPolicy(initial_interval_s=0.0, maximum_attempts=3)
HOURS_S = 36_000.0
START = 1_760_000_000.0


def sagas() -> list[BoundSaga]:
    """Two sagas that wait for a signature at their end; asking a busy desk fails once."""
    errand = define("errand", deadline_s=HOURS_S)

    @errand.step(name="ask", service="desk", retry=AT_ONCE, compensate=lambda _: None)
    def ask(call: Call) -> str:
        if call.input["busy"] and call.attempt == 1:
            raise StepError("Busy", "come back later", FailureClass.TRANSIENT)
        return "asked"

    @errand.step(name="do", service="shop", after=["ask"], compensate=lambda _: None)
    def do(call: Call) -> str:
        return "done"

    errand.approval("sign", after=["do"])
    visit = define("visit")
    visit.approval("visa")
    return [errand.bind(), visit.bind()]


def until_it_waits(engine: SyncEngine, run_id: str, step: str) -> None:
    while engine.state(run_id).steps[step].phase is not StepPhase.AWAITING:
        time.sleep(0.01)


def played(path: Path) -> Path:
    """Two errands and a visit that wait, and one errand that has ended."""
    with SyncEngine(SqliteJournal(path), sagas(), shutdown_s=1.0) as engine:
        for run_id, busy in (("over", False), ("fine", False), ("busy", True)):
            engine.start("errand", {"busy": busy}, run_id=run_id, context={"tier": "gold"})
            until_it_waits(engine, run_id, "sign")
        engine.start("visit", run_id="visit-1")
        until_it_waits(engine, "visit-1", "visa")
        engine.signal("over", "sign")
        assert engine.result("over").status is Status.COMPLETED
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("risk") / "runs.db")


def law(seconds: float) -> RemainingTime:
    """As good as always so many seconds."""
    knots = tuple(log1p(seconds) + each / 1e6 for each in PROBABILITIES)
    return RemainingTime(RemainingKind.POOLED, ResidualLaw(knots, 40), {})


def bundle_with(risk: LiveRisk | None) -> Bundle:
    return Bundle(base=BaseRates.estimate({}), encoding=FeatureEncoding((), ()), live_risk=risk)


@pytest.fixture(scope="module")
def risk() -> LiveRisk:
    """Rates by steps done of both sagas: visits seldom succeed, errands with both steps done mostly do."""
    vocabulary = PrefixVocabulary((), (), (), ())
    outcome = CaseOutcomeModel(CaseModelKind.BASE_RATE, vocabulary, 0.5, PlattMap(1.0, 0.0))
    rates = LiveRates(
        Rate(0.5, 90),
        {"errand": Rate(0.6, 50), "visit": Rate(0.05, 40)},
        {"visit/0": Rate(0.05, 40), "errand/2": Rate(0.9, 30)},
    )
    laws = {"remaining": law(7_200.0), "remaining_good": law(7_200.0)}
    return LiveRisk(outcome, LiveSource.RATES, rates=rates, cases=90, **laws)


@pytest.fixture(scope="module")
def bundle(risk: LiveRisk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    save_bundle(bundle_with(risk), folder, created_at="2026-01-01T00:00:00+00:00")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: its exit code, stdout and stderr."""

    def command(*arguments: object) -> Ended:
        code = main.run(["risk", *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def test_running_sagas_are_listed_the_most_hopeless_first(run: Run, journal: Path, bundle: Path) -> None:
    """A line each with chances, times, what they stand on and why; runs that have ended are not there."""
    code, out, err = run("--journal", journal, "--bundle", bundle)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == [
        "run", "saga", "success", "in", "time", "median", "p90", "stands", "on", "why"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:4]] == ["visit-1", "busy", "fine"]
    assert lines[1].split()[1:5] == ["visit", "5.0%", "-", "2"]
    assert "rates by steps done (40 runs)  0 of 1 steps done" in lines[1]
    assert "2 of 3 steps done, 1 attempt failed; last: do succeeded at attempt 1" in lines[2]
    assert lines[-1].startswith("3 of 3 running sagas, by bundle ")


def test_json_tells_the_same_with_numbers(run: Run, journal: Path, bundle: Path) -> None:
    """One document; --top bounds its runs, and --within asks about a time of one's own."""
    asked = ["--journal", journal, "--bundle", bundle, "--json"]
    told = json.loads(run(*asked, "--within", 7_300)[1])
    assert (told["running"], told["within_s"], told["refused"]) == (3, 7_300.0, {})
    visit, busy, _ = told["runs"]
    assert (visit["run_id"], visit["saga"], visit["success"], visit["hopeless"]) == (
        "visit-1", "visit", 0.05, True
    )  # fmt: skip
    assert (visit["deadline_s"], visit["success_within_deadline"]) == (None, None)
    assert (visit["stands_on"], visit["evidence_runs"]) == ("rates by steps done", 40)
    assert visit["remaining_s_median"] == pytest.approx(7_200, abs=120)
    assert (busy["deadline_s"], busy["success_within_deadline"]) == (HOURS_S, pytest.approx(0.9))
    assert busy["success_within_s"] == pytest.approx(0.9)
    assert busy["confidence"] == "fair"
    soon = json.loads(run(*asked, "--within", 60, "--top", 1)[1])
    assert [(each["run_id"], each["success_within_s"]) for each in soon["runs"]] == [("visit-1", 0.0)]
    assert soon["running"] == 3
    out = run("--journal", journal, "--bundle", bundle, "--within", 60)[1]
    assert "within 1 min" in out.splitlines()[0]


def test_a_journal_that_an_engine_has_is_read_beside_it(run: Run, bundle: Path, tmp_path: Path) -> None:
    """While the engine goes on its runs are listed, and the engine does not notice."""
    path = tmp_path / "runs.db"
    with SyncEngine(SqliteJournal(path), sagas(), shutdown_s=1.0) as engine:
        engine.start("visit", run_id="v")
        until_it_waits(engine, "v", "visa")
        told = json.loads(run("--journal", path, "--bundle", bundle, "--json")[1])
        assert [each["run_id"] for each in told["runs"]] == ["v"]
        engine.signal("v", "visa")
        assert engine.result("v").status is Status.COMPLETED
    code, out, _ = run("--journal", path, "--bundle", bundle)
    assert (code, out.split(",")[0]) == (0, "0 of 0 running sagas")


def test_what_is_told_of_a_run_is_what_training_sees_of_it_later(risk: LiveRisk, tmp_path: Path) -> None:
    """The latest event of a run that waits is an event of the same run in the dataset, once it has ended."""
    path, dataset = played(tmp_path / "runs.db"), tmp_path / "dataset"
    with closing(SqliteJournal(path, read_only=True)) as journal:
        journal.open()
        found = {run.run_id: run.latest for run in runs_at_risk(journal, risk, time.time()).runs}
    with SyncEngine(SqliteJournal(path), sagas(), shutdown_s=1.0) as engine:
        for run_id in ("fine", "busy"):
            engine.signal(run_id, "sign")
            engine.result(run_id)
    assert main.run(["record", str(path), "--into", str(dataset)]) == 0
    seen = {each.case.case_id: each.case.events for each in live_runs(DatasetStore(dataset), time.time())}
    for run_id in ("fine", "busy"):
        assert found[run_id] == seen[run_id][-1]
        assert found[run_id].attributes["steps left"] == 1


def test_a_run_that_cannot_be_read_is_named(run: Run, bundle: Path, tmp_path: Path) -> None:
    """One whose definition is gone is told on stderr with exit code 3; the others are listed."""
    path = played(tmp_path / "runs.db")
    with closing(sqlite3.connect(path)) as file:
        (visit,) = file.execute("SELECT definition_hash FROM runs WHERE run_id = 'visit-1'").fetchone()
        file.execute("DELETE FROM definitions WHERE hash = ?", (visit,))
        file.commit()
    code, out, err = run("--journal", path, "--bundle", bundle)
    assert code == 3
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["busy", "fine"]
    assert err.startswith("cannot be read: run visit-1: ")
    assert err.count("\n") == 1


BAD: Mapping[str, tuple[list[str], str]] = {
    "no journal named": (["--bundle", "b"], "--journal"),
    "no such journal": (["--journal", "none.db", "--bundle", "{bundle}"], "none.db"),
    "nothing to ask": (["--journal", "{journal}"], "--bundle DIR or --registry DIR"),
    "no bundle": (["--journal", "{journal}", "--bundle", "none"], "none is no folder"),
    "no registry": (["--journal", "{journal}", "--registry", "none"], "none is no folder"),
    "two sources": (["--journal", "{journal}", "--bundle", "a", "--registry", "b"], "both given"),
    "no lines": (["--journal", "{journal}", "--bundle", "{bundle}", "--top", "0"], "--top"),
    "no number": (["--journal", "{journal}", "--bundle", "{bundle}", "--within", "soon"], "--within"),
    "the past": (["--journal", "{journal}", "--bundle", "{bundle}", "--within=-1"], "--within -1.0"),
    "never": (["--journal", "{journal}", "--bundle", "{bundle}", "--within", "nan"], "--within nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_line(name: str, run: Run, journal: Path, bundle: Path) -> None:
    """Bad input ends with 2, names the value, and leaves stdout to data."""
    arguments, expected = BAD[name]
    code, out, err = run(*(each.format(journal=journal, bundle=bundle) for each in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert "Traceback" not in err


def test_a_bundle_without_live_risk_says_how_to_get_one(run: Run, journal: Path, tmp_path: Path) -> None:
    """It is refused with its folder and what to train on."""
    save_bundle(bundle_with(None), tmp_path / "bare", created_at="2026-01-01T00:00:00+00:00")
    code, out, err = run("--journal", journal, "--bundle", tmp_path / "bare")
    assert (code, out) == (2, "")
    assert f"the bundle in {tmp_path / 'bare'} knows nothing of running sagas; train on" in err


PAST = Saga(
    name="errand",
    steps=(
        Step(name="ask", service="desk"),
        Step(name="do", service="shop", after=("ask",)),
        Step(name="sign", service="desk", after=("do",)),
    ),
)
"""Errands as they were when nobody had to sign by hand."""


def errand_rows(number: int, launch_at: float, *, busy: bool, good: bool) -> list[Row]:
    """An errand of the past as a recorder tells it: after a busy desk few are signed."""
    saga = PAST
    said: dict[str, Any] = {
        "run_id": f"past-{number:04}", "saga": saga.name, "definition_hash": saga.definition_hash,
        "launch_at": launch_at, "arm": "author", "propensity": 1.0, "fallback": False, "advice_id": "",
        "model_version": "", "context": {"tier": "gold"},
    }  # fmt: skip
    calls = [("ask", 1, busy), *([("ask", 2, False)] if busy else []), ("do", 1, False)]
    rows: list[Row] = [
        AttemptRow(
            **said, step=step, service=saga.by_name[step].service, region="", kind=Kind.COMPENSATABLE,
            direction=Direction.FORWARD, attempt=attempt, position=place, steps_done=place, in_flight=0,
            scheduled_at=launch_at + place, started_at=launch_at + place, timeout_s=10.0, maximum_attempts=3,
            ended_at=launch_at + place + 0.5, error_type="Busy" if fails else "",
            outcome=AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED,
            failure_class=FailureClass.TRANSIENT if fails else None, features={"weekday": 1.0},
        )
        for place, (step, attempt, fails) in enumerate(calls)
    ]  # fmt: skip
    status = Status.COMPLETED if good else Status.COMPENSATED
    end: dict[str, Any] = {
        "ended_at": launch_at + 60.0,
        "latency_s": 60.0,
        "cost": 1.0,
        "wasted_cost": 0.0,
        "reason": "",
    }
    return [*rows, RunRow(**said, **end, status=status)]


@pytest.mark.slow
def test_a_training_tells_running_sagas_apart(run: Run, journal: Path, tmp_path: Path) -> None:
    """From a dataset to the journal: the task is judged, and the errand that met a busy desk is the worse."""
    draw, rows = random.Random(5), list[Row]()
    for number in range(500):
        busy = draw.random() < 0.4
        good = draw.random() < (0.1 if busy else 0.95)
        rows += errand_rows(number, START + 1_000.0 * number, busy=busy, good=good)
    store = DatasetStore(tmp_path / "dataset")
    store.append(rows)
    store.keep_definitions([PAST])
    folder = tmp_path / "bundle"
    options = ["--into", str(folder), "--at", str(START + 1e6)]
    train = ["train", "--dataset", str(store.folder), "--no-registry", *options, "--json"]
    assert main.run(train) in (0, 3)
    code, out, err = run("--journal", journal, "--bundle", folder, "--json")
    assert code == 0, err
    trained, _, listed = out.partition("\n")
    assert json.loads(trained)["models"]["live_risk"]["auc"] > 0.6
    told = {each["run_id"]: each for each in json.loads(listed)["runs"]}
    assert told["busy"]["success"] < 0.4
    assert told["fine"]["success"] > 0.7
    assert told["busy"]["stands_on"] == "model"
    assert told["visit-1"]["evidence_runs"] == 0
