"""Live risk as a task of a training on attempts: which runs teach it, and when the base rate is kept."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row, RunRow
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction, FailureClass, Kind, Saga, Status, Step
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle, load_bundle
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.live_risk import LiveSource
from sagacity_training.config import TrainingConfig
from sagacity_training.judging.gate import gate as judge
from sagacity_training.judging.ledger import Ledger
from sagacity_training.live_risk_runs import live_runs, runs_of
from sagacity_training.live_risk_task import LiveRiskTask, learn_live_risk
from sagacity_training.step_job import fit_steps

START = 1_760_000_000.0
EVERY_S = 500.0
ERRAND = Saga(name="errand", steps=(Step(name="ask", service="desk"), Step(name="do", service="shop")))
DEFINITIONS = {ERRAND.definition_hash: ERRAND}
END = 4e9


def known_of(run_id: str, at: float, context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "saga": ERRAND.name,
        "definition_hash": ERRAND.definition_hash,
        "launch_at": at,
        "arm": "author",
        "propensity": 1.0,
        "fallback": False,
        "advice_id": "",
        "model_version": "",
        "context": context,
    }


def rows_of_run(number: int, *, busy: bool, good: bool, open_still: bool = False) -> list[Row]:
    """One errand: its first step fails where the desk is busy, its second succeeds where the run does."""
    at = START + EVERY_S * number
    said = known_of(f"run-{number:05}", at, {"tier": "gold" if number % 2 else "plain"})
    rows: list[Row] = [_attempt(said, "ask", 1, at + 1, fails=busy)]
    rows += [_attempt(said, "ask", 2, at + 3, fails=False)] if busy else []
    rows += [_attempt(said, "do", 1, at + 5, fails=not good)]
    status = Status.RUNNING if open_still else Status.COMPLETED if good else Status.COMPENSATED
    ended_at = None if open_still else at + (60.0 if busy else 9.0) + number % 5
    run = RunRow(
        **said, status=status, ended_at=ended_at, reason="", cost=1.0, wasted_cost=0.0, latency_s=10.0
    )
    return [*rows, run]


def _attempt(said: Mapping[str, Any], step: str, attempt: int, ended_at: float, *, fails: bool) -> AttemptRow:
    return AttemptRow(
        **said,
        step=step,
        service=ERRAND.by_name[step].service,
        region="",
        kind=Kind.COMPENSATABLE,
        direction=Direction.FORWARD,
        attempt=attempt,
        position=ERRAND.names.index(step),
        steps_done=ERRAND.names.index(step),
        in_flight=0,
        scheduled_at=ended_at - 1,
        started_at=ended_at - 1,
        timeout_s=10.0,
        maximum_attempts=3,
        ended_at=ended_at,
        outcome=AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED,
        error_type="Busy" if fails else "",
        failure_class=FailureClass.TRANSIENT if fails else None,
        features={"weekday": 1.0},
    )


def errands(count: int, seed: int = 1) -> list[Row]:
    """Errands of which one in four meets a busy desk; of those few end well, of the others nearly all."""
    draw = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        busy = draw.random() < 0.25
        rows += rows_of_run(number, busy=busy, good=draw.random() < (0.15 if busy else 0.95))
    return rows


def learnt(rows: list[Row], champion: Bundle | None = None, **settings: Any) -> LiveRiskTask | None:
    config = TrainingConfig.of({"seed": 3, **settings})
    return learn_live_risk(rows, DEFINITIONS, config, at=END, champion=champion, tell=lambda _: None)


def test_there_is_nothing_to_learn_without_ended_runs_or_when_switched_off() -> None:
    """Attempts alone, runs that are all open, none at all, and a setting of 0 give no live risk."""
    rows = errands(40)
    assert learnt([row for row in rows if isinstance(row, AttemptRow)]) is None
    still = [row for n in range(9) for row in rows_of_run(n, busy=False, good=True, open_still=True)]
    assert learnt(still) is None
    assert learnt([]) is None
    assert learnt(rows, live_risk={"runs_max": 0}) is None


def test_a_few_runs_give_the_base_rate_with_its_evidence() -> None:
    """Too little history for any choice: P(success) is the saga's rate, and the gate is told of no signal."""
    task = learnt(errands(40))
    assert task is not None
    assert (task.risk.source, task.judged.task, task.judged.has_signal) == (
        LiveSource.BASE,
        "live_risk",
        False,
    )
    assert task.risk.rates is not None
    assert 20 < task.risk.rates.of_saga("errand").evidence < 40


def test_only_the_latest_runs_teach() -> None:
    """Of more runs than the setting takes, in whatever order they come, the latest launches count."""
    rows = errands(60)
    random.Random(2).shuffle(rows)
    runs = runs_of(rows, DEFINITIONS, END, 25)
    assert [run.case.case_id for run in runs] == [f"run-{number:05}" for number in range(35, 60)]
    task = learnt(rows, live_risk={"runs_max": 25})
    assert task is not None
    assert task.risk.cases <= 25


def test_rows_that_were_read_give_the_runs_that_the_dataset_gives(tmp_path: Path) -> None:
    """Reading them from the store, or having read them already, is the same, also at an earlier moment."""
    store, rows = DatasetStore(tmp_path), errands(30)
    store.append(rows)
    store.keep_definitions([ERRAND])
    for at in (END, START + 10.5 * EVERY_S):
        assert runs_of(rows, store.definitions(), at, 1_000) == live_runs(store, at)


def test_context_that_no_model_may_use_is_not_in_it() -> None:
    """A context in `features.ignore` is in no event that live risk learns from."""
    rows = errands(60)
    seen, unseen = learnt(rows), learnt(rows, features={"ignore": ["context.tier"]})
    assert seen is not None
    assert unseen is not None
    levels = [dict(task.risk.outcome.vocabulary.levels) for task in (seen, unseen)]
    assert ["context tier" in each for each in levels] == [True, False]


@pytest.mark.slow
def test_a_signal_is_found_and_the_champion_is_asked_of_later_runs_only() -> None:
    """A busy desk is told; the same rows give the same texts; the champion does not speak of what it knew."""
    rows = errands(700)
    task = learnt(rows)
    assert task is not None
    assert task.judged.has_signal
    assert task.risk.source is not LiveSource.BASE
    assert task.risk.remaining is not None
    cut = START + 650 * EVERY_S
    champion = Bundle(
        base=BaseRates.estimate({}),
        encoding=FeatureEncoding((), ()),
        live_risk=task.risk,
        created_at=datetime.fromtimestamp(cut, UTC).isoformat(),
    )
    again = learnt(list(reversed(rows)), champion)
    assert again is not None
    assert again.risk.texts() == task.risk.texts()
    assert again.judged.champion is not None
    told = np.isfinite(again.judged.champion)
    assert 0 < told.sum() < len(told)
    assert told[again.judged.at >= cut + 100].all()
    assert not told[again.judged.at < cut].any()


@pytest.mark.slow
def test_what_the_gate_could_not_have_has_no_say_there() -> None:
    """On too few rows, or uncalibrated, it is served if surely better than the base rate, and vetoes none."""
    rows = errands(700)
    for gate, why in (
        ({}, "too few"),
        ({"ece_max": 0.0, "test_rows_min": 100}, "is above 0"),
    ):
        task = learnt(rows, gate=gate)
        assert task is not None
        assert (task.judged.advisory, task.judged.has_signal) == (True, True)
        assert "; no say at the gate: " in task.judged.reason
        assert task.judged.reason.endswith(why)
        verdict = judge([task.judged], TrainingConfig.of({"gate": gate}).gate, Ledger())
        assert (verdict.promoted, verdict.signal, verdict.stands_in) == (False, False, True)


@pytest.mark.slow
def test_what_does_not_last_gives_way_to_the_base_rate() -> None:
    """A signal that is gone on the held-out runs: the base rate is served, with its law of time."""
    draw, rows = random.Random(8), list[Row]()
    for number in range(600):
        busy = draw.random() < 0.25
        turned = number >= 500 and draw.random() < 0.9
        good = draw.random() < (0.15 if busy is not turned else 0.95)
        rows += rows_of_run(number, busy=busy, good=good)
    task = learnt(rows)
    assert task is not None
    assert (task.risk.source, task.judged.has_signal) == (LiveSource.BASE, False)
    assert list(task.judged.forecasts) == list(task.judged.base)
    assert "is not surely better than the base rate on held-out runs" in task.judged.reason
    assert task.risk.remaining is not None


@pytest.mark.slow
def test_training_on_attempts_keeps_and_judges_it(tmp_path: Path) -> None:
    """The bundle of a training has it, its task is among those judged, and 0 runs leave it out."""
    store = DatasetStore(tmp_path / "dataset")
    store.append(errands(300))
    store.keep_definitions([ERRAND])
    found = {}
    for name, runs_max in (("with", 20_000), ("without", 0)):
        config = TrainingConfig.of({"live_risk": {"runs_max": runs_max}})
        fitted = fit_steps(store.folder, config, at=START + 1e6, champion=None, tell=lambda _: None)
        fitted.save(tmp_path / name)
        bundle = load_bundle(tmp_path / name)
        found[name] = bundle.live_risk is not None, "live_risk" in [each.task for each in fitted.judged]
        assert fitted.card.version == bundle.version
    assert found == {"with": (True, True), "without": (False, False)}
