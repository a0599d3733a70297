"""Whatever rows a dataset holds, foreign and contradictory ones among them, features keep their word."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sagacity_data import (
    FEATURE_NAMES,
    TEXT_FEATURES,
    AttemptOutcome,
    AttemptRow,
    LaunchFeatures,
    Row,
    RunClosed,
    RunRow,
    replayed,
    signals,
)
from sagacity_data.replay import launches
from sagacity_data.rows import ENGINE
from sagacity_engine import Direction, FailureClass, Kind, Saga, Status, Step

SAGA = Saga(name="one", steps=(Step(name="a", service="s"), Step(name="b", service="t", region="eu")))
BY_HASH = {SAGA.definition_hash: SAGA}
WEEK = 604_800.0

SECONDS = st.integers(0, 12).map(float)  # Few, so that many things happen at once.
TIMES = st.one_of(SECONDS, SECONDS.map(lambda s: s + WEEK - 6.0), SECONDS.map(lambda s: s + 5 * WEEK))
HUGE = st.sampled_from([1, 10**400])
MAYBE = st.one_of(st.none(), TIMES)


@st.composite
def attempts(draw: st.DrawFn) -> AttemptRow:
    """Any attempt of a few runs: of our definition or none, with any times, outcome and error."""
    foreign = draw(st.booleans())
    error = draw(st.sampled_from(["", "CircuitOpen", "NoFreeThread", "Odd"]))
    return AttemptRow(
        run_id=f"r{draw(st.integers(0, 4))}", saga="one",
        definition_hash="" if foreign else SAGA.definition_hash,
        step=draw(st.sampled_from(["a", "b", "new"])),
        service=draw(st.sampled_from(["s", "t", "never seen"])), region="", kind=Kind.COMPENSATABLE,
        direction=draw(st.sampled_from([Direction.FORWARD, Direction.UNDO])), attempt=draw(st.integers(1, 3)),
        position=None, steps_done=None, in_flight=None, scheduled_at=None, started_at=draw(MAYBE),
        timeout_s=None, maximum_attempts=None, ended_at=draw(MAYBE),
        outcome=draw(st.sampled_from(AttemptOutcome)), error_type=error,
        failure_class=draw(st.sampled_from([None, *FailureClass])), launch_at=draw(MAYBE), arm="foreign",
        propensity=1.0, fallback=False, advice_id="", model_version="",
        context={"season": draw(st.sampled_from(["low", "unheard of"])), "huge": draw(HUGE)},
        source=draw(st.sampled_from([ENGINE, "otlp"])), features={},
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> RunRow:
    """Any end of one of those runs, or none."""
    return RunRow(
        run_id=f"r{draw(st.integers(0, 4))}", saga="one", definition_hash="", launch_at=draw(MAYBE),
        ended_at=draw(MAYBE), status=draw(st.sampled_from(Status)), reason="", arm="foreign", propensity=1.0,
        fallback=False, advice_id="", model_version="", cost=None, wasted_cost=None, latency_s=None,
        context={},
    )  # fmt: skip


def unique(rows: list[Row]) -> list[Row]:
    """A dataset has one row of a key, and one context of a run."""
    kept = {row.key: replace(row, context={"run": row.run_id}) for row in rows}
    return list(kept.values())


ROWS = st.lists(st.one_of(attempts(), runs()), max_size=14).map(unique)


def told(rows: list[Row]) -> dict[str, Mapping[str, Any]]:
    """The features of every launch."""
    return {launch.run_id: launch.features for launch in launches(rows, BY_HASH)}


@given(rows=st.lists(attempts(), max_size=14), at=TIMES)
def test_features_are_finite_numbers_and_known_texts(rows: list[Row], at: float) -> None:
    """From any rows come exactly the catalogue's features, each finite or, where it is so declared, text."""
    fold = LaunchFeatures()
    for signal in signals(rows):
        fold.observe(signal)
    context = rows[0].context if rows else {}
    for features in fold.features(SAGA, context, max(at, fold.earliest_at, 6 * WEEK)).values():
        assert tuple(features)[: len(FEATURE_NAMES)] == FEATURE_NAMES
        for name, value in features.items():
            assert isinstance(value, str) == (name in TEXT_FEATURES or name == "context.season")
            assert isinstance(value, str) or math.isfinite(value)


@given(rows=ROWS, shuffle=st.randoms())
def test_the_order_of_rows_is_nothing(rows: list[Row], shuffle: random.Random) -> None:
    """Rows in another order give the same signals, and the same features to the last bit."""
    shuffled = rows[:]
    shuffle.shuffle(shuffled)
    assert list(signals(shuffled)) == list(signals(rows))
    assert told(shuffled) == told(rows)


@given(rows=ROWS, other=st.lists(st.one_of(attempts(), runs()), max_size=6).map(unique))
def test_rows_of_the_own_run_change_nothing(rows: list[Row], other: list[Row]) -> None:
    """Whatever else the rows of a run tell, however their times lie, its launch does not know it."""
    runs_at = {row.run_id: row.launch_at for row in rows if row.definition_hash == SAGA.definition_hash}
    run_id, at = next(((run_id, at) for run_id, at in runs_at.items() if at is not None), ("", None))
    if at is None:
        return
    clean = [row for row in rows if row.run_id != run_id]
    own = [row for row in rows if row.run_id == run_id and row.definition_hash == SAGA.definition_hash]
    own = [replace(row, launch_at=at) for row in own]
    more = [replace(row, run_id=run_id, launch_at=at, context={"run": run_id}) for row in other]
    assert told([*clean, *own, *more])[run_id] == told([*clean, *own])[run_id]


@given(rows=ROWS, other=ROWS, cut=TIMES)
def test_rows_of_the_future_change_nothing(rows: list[Row], other: list[Row], cut: float) -> None:
    """Rows all of whose times lie at a launch or after it leave the launches until then as they are."""
    future = [
        replace(
            row,
            run_id=f"later {row.run_id}",
            launch_at=cut + (row.launch_at or 0.0),
            ended_at=None if row.ended_at is None else cut + row.ended_at,
        )
        for row in other
    ]
    future = [
        replace(row, started_at=None if row.started_at is None else cut + row.started_at)
        if isinstance(row, AttemptRow)
        else row
        for row in future
    ]
    before = {launch.run_id: launch for launch in launches(rows, BY_HASH) if launch.at <= cut}
    after = {
        launch.run_id: launch for launch in launches([*rows, *future], BY_HASH) if launch.run_id in before
    }
    assert after == before


@given(rows=ROWS, moment=st.integers(0, 30))
def test_a_snapshot_at_any_moment_is_invisible(rows: list[Row], moment: int) -> None:
    """A fold that was put away as JSON between any two signals goes on to the same state, to the last bit."""
    straight, interrupted = LaunchFeatures(), LaunchFeatures()
    for number, signal in enumerate(signals(rows)):
        straight.observe(signal)
        if number == moment:
            interrupted = LaunchFeatures.restore(json.loads(json.dumps(interrupted.snapshot())))
        interrupted.observe(signal)
    at = 6 * WEEK
    assert interrupted.features(SAGA, {}, at) == straight.features(SAGA, {}, at)
    assert interrupted.snapshot() == straight.snapshot()


@given(rows=ROWS, every=st.integers(1, 4))
def test_to_ask_changes_nothing(rows: list[Row], every: int) -> None:
    """A fold that is asked often, as a server is, ends as one that is not asked at all."""
    asked, silent = LaunchFeatures(), LaunchFeatures()
    for number, signal in enumerate(signals(rows)):
        if number % every == 0:
            asked.features(SAGA, {}, max(signal.at, asked.earliest_at))
        asked.observe(signal)
        silent.observe(signal)
    assert asked.features(SAGA, {}, 6 * WEEK) == silent.features(SAGA, {}, 6 * WEEK)
    assert asked.snapshot() == silent.snapshot()


ORDERED_ONLY = {"service_last_outcome", "service_health_streak"} | {
    name for name in FEATURE_NAMES if name.startswith("service_ill_")
}


@given(rows=ROWS, shuffle=st.randoms())
def test_late_arrivals_count_all_the_same(rows: list[Row], shuffle: random.Random) -> None:
    """Runs told in any order, long after their time, give the rates, times and counts of the right order."""
    by_run: dict[str, list[Any]] = {}
    for signal in signals(rows):
        by_run.setdefault(signal.run_id, []).append(signal)
    late, in_order = LaunchFeatures(), LaunchFeatures()
    order = sorted(by_run)
    shuffle.shuffle(order)
    for run_id in order:
        for signal in by_run[run_id]:
            late.observe(signal)
            late.features(SAGA, {}, max(late.earliest_at, 0.0))
    for signal in signals(rows):
        in_order.observe(signal)
    at = 5 * WEEK + 20.0
    for step, right in in_order.features(SAGA, {}, at).items():
        for name, value in late.features(SAGA, {}, at)[step].items():
            if isinstance(value, float) and name not in ORDERED_ONLY:
                assert math.isclose(value, float(right[name]), rel_tol=1e-9, abs_tol=1e-9), name


def test_rows_without_a_launch_are_history_alone() -> None:
    """A foreign attempt gives later launches its outcome, and gets no features itself."""
    shared: dict[str, Any] = {
        "saga": "one", "step": "a", "service": "s", "region": "", "kind": Kind.COMPENSATABLE,
        "direction": Direction.FORWARD, "attempt": 1, "position": 0, "steps_done": 0, "in_flight": 0,
        "scheduled_at": None, "timeout_s": None, "maximum_attempts": None, "error_type": "",
        "failure_class": None, "arm": "", "propensity": 1.0, "fallback": False, "advice_id": "",
        "model_version": "", "context": {}, "features": {},
    }  # fmt: skip
    foreign = AttemptRow(
        run_id="f", definition_hash="", started_at=None, ended_at=50.0, outcome=AttemptOutcome.SUCCEEDED,
        launch_at=None, source="temporal", **shared,
    )  # fmt: skip
    ours = AttemptRow(
        run_id="o", definition_hash=SAGA.definition_hash, started_at=100.0, ended_at=101.0,
        outcome=AttemptOutcome.SUCCEEDED, launch_at=100.0, **shared,
    )  # fmt: skip
    silent = [
        replace(foreign, outcome=outcome) for outcome in (AttemptOutcome.CANCELLED, AttemptOutcome.OPEN)
    ]
    first, second = replayed([foreign, ours], BY_HASH)
    assert isinstance(first, AttemptRow)
    assert isinstance(second, AttemptRow)
    assert not first.features
    assert second.features["service_last_outcome"] == "succeeded"
    for row in silent:
        (launch,) = launches([row, ours], BY_HASH)
        assert launch.features["a"]["service_last_outcome"] == "none"
        assert launch.features["a"]["service_calls_7d"] == 0.0


@given(row=runs())
def test_a_run_closes_when_it_has_ended(row: RunRow) -> None:
    """Only a run with a time and a status of its end closes."""
    closes = any(isinstance(signal, RunClosed) for signal in signals([row]))
    running = row.status in (Status.RUNNING, Status.COMPENSATING)
    assert closes == (row.ended_at is not None and not running)
