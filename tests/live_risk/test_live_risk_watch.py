"""A watch on running sagas says what training said of the same moments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction, Saga, Step
from sagacity_engine.worlds import goa_trip
from sagacity_models.live_risk_events import AttemptEnd
from sagacity_models.live_risk_watch import LiveWatch
from sagacity_training.ladder.season import Season, log_past
from sagacity_training.live_risk import LiveRiskResult, train_live_risk
from sagacity_training.live_risk_runs import live_runs
from sagacity_training.live_risk_source import risk_forecaster

START = 1_760_000_000.0
TRIP = Saga(
    name="trip",
    steps=tuple(Step(name=name, service=f"{name} vendor") for name in ("book", "pay", "tell")),
    deadline_s=60.0,
)


def paid(at: float, error: str = "") -> Iterator[AttemptEnd]:
    for step, after_s, outcome in (
        ("book", 1.0, AttemptOutcome.SUCCEEDED),
        ("pay", 2.0, AttemptOutcome.FAILED if error else AttemptOutcome.SUCCEEDED),
    ):
        yield AttemptEnd(
            step=step,
            service=f"{step} vendor",
            direction=Direction.FORWARD,
            attempt=1,
            outcome=outcome,
            ended_at=at + after_s,
            duration_s=1.0,
            error_type=error if step == "pay" else "",
        )


def test_hopeless_runs_are_found_among_those_under_way(learnt: LiveRiskResult) -> None:
    """Of two runs, the one whose payment met the error that one in ten survives is hopeless at 0.3."""
    watch = LiveWatch(learnt.risk)
    for run_id, error in (("fine", ""), ("odd", "Odd")):
        watch.launched(run_id, TRIP, {"tier": "gold"}, START)
        for end in paid(START, error):
            watch.ended(run_id, end)
    assert [run_id for run_id, _ in watch.hopeless(0.3, START + 3.0)] == ["odd"]
    fine = watch.forecast("fine", START + 3.0)
    assert fine.success > 0.7
    assert fine.within_deadline is not None
    watch.run_ended("odd")
    assert ("odd" in watch, "fine" in watch, len(watch)) == (False, True, 1)
    assert list(watch.hopeless(0.3, START + 3.0)) == []


def test_a_watch_is_bounded_and_forgets_the_run_it_heard_of_longest_ago(learnt: LiveRiskResult) -> None:
    """With room for two, the third run takes the place of the one that has been silent."""
    watch = LiveWatch(learnt.risk, runs_max=2)
    watch.launched("a", TRIP, {}, START)
    watch.launched("b", TRIP, {}, START + 1.0)
    watch.ended("a", next(paid(START + 2.0)))
    watch.launched("c", TRIP, {}, START + 4.0)
    assert [run_id in watch for run_id in "abc"] == [True, False, True]
    watch.ended("b", next(paid(START + 5.0)))
    with pytest.raises(KeyError):
        watch.forecast("b", START)


def test_nothing_can_be_said_before_anything_happened(learnt: LiveRiskResult) -> None:
    """A case without an event has no moment to be asked about."""
    with pytest.raises(ValueError, match="nothing has happened yet"):
        learnt.risk.start({}).forecast(START)


@pytest.mark.slow
def test_the_demo_world_s_runs_are_ranked_and_served_as_they_were_learnt(tmp_path: Path) -> None:
    """Prefixes of logged trips rank far better than launches, are near honest, and serving says the same."""
    store = DatasetStore(tmp_path)
    log_past(Season(seed=5, logged=1_500, fresh=1), store, lambda _done: None)
    store.keep_definitions([goa_trip()])
    told = train_live_risk(tmp_path, seed=0)
    assert told.scores.auc is not None
    assert told.launch_auc is not None
    assert told.forward_auc is not None
    assert told.scores.auc.low > told.launch_auc + 0.1
    assert told.forward_auc > told.launch_auc + 0.1
    assert told.scores.calibration_error < 0.12
    assert told.scores.brier_gain.low > 0
    assert told.remaining is not None
    assert told.remaining.scores is not None
    assert told.remaining.scores.error_s < 0.8 * told.remaining.scores.mean_error_s
    _served_as_learnt(told, store)


def _served_as_learnt(told: LiveRiskResult, store: DatasetStore) -> None:
    """A watch that is told the whole history says of the last runs what training said of them."""
    runs = live_runs(store, math.inf)
    (saga,) = {row.saga for row in store.read_runs()}
    definition = next(each for each in store.definitions().values() if each.name == saga)
    watch, said = LiveWatch(told.risk), dict[str, float]()
    moments: list[tuple[float, int, str, Row]] = [
        (row.launch_at or 0.0, 0, row.run_id, row) for row in store.read_runs()
    ]
    moments += [
        (end.ended_at, 1, f"{attempt.run_id} {attempt.step} {attempt.attempt}", attempt)
        for attempt in store.read_attempts()
        if (end := AttemptEnd.of(attempt)) is not None
    ]
    asked = {run.case.case_id: run for run in runs[-40:]}
    for at, _, _, row in sorted(moments, key=lambda each: each[:3]):
        end = AttemptEnd.of(row) if isinstance(row, AttemptRow) else None
        if end is None:
            watch.launched(row.run_id, definition, row.context, at)
        else:
            watch.ended(row.run_id, end)
        run = asked.get(row.run_id)
        if run is not None and (known := run.known.prefix.events) and _moment(row) == known[-1].at_us:
            said[row.run_id] = watch.forecast(row.run_id, known[-1].at_us / 1e6).success
    assert len(said) == len(asked)
    for run_id, run in asked.items():
        expected = risk_forecaster(told.risk)([run.known])[-1]
        assert said[run_id] == pytest.approx(float(expected), abs=1e-6)


def _moment(row: object) -> int:
    at = getattr(row, "ended_at", None) if hasattr(row, "step") else getattr(row, "launch_at", None)
    return round((at or 0.0) * 1e6)
