from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagacity_data import AttemptOutcome, AttemptRow, LaunchFeatures, Recorder, Row, RunRow, signals
from sagacity_engine import (
    Compensation,
    CostPolicy,
    Direction,
    FailureClass,
    Kind,
    RetryPolicy,
    Saga,
    Status,
    Step,
    author_plan,
)
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    RunEnded,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import begin
from sagacity_engine.virtual.host import Reply

TRIP = Saga(
    name="trip",
    steps=(
        Step(name="fly", service="air", region="eu", cost=2.0, compensation=Compensation(cost=3.0)),
        Step(
            name="stay",
            service="hotels",
            region="us",
            idempotent=True,
            start_to_close_timeout_s=5.0,
            retry=RetryPolicy(maximum_attempts=2),
            cost=4.0,
            compensation=Compensation(cost=1.0, start_to_close_timeout_s=7.0),
        ),
        Step(name="pay", service="bank", kind=Kind.PIVOT, cost=1.0),
    ),
    policy=CostPolicy(latency_cost_per_s=0.5, failure_penalty=20.0),
)
SCRIPT = {
    "stay": [
        Reply(duration_s=60.0),
        Reply(duration_s=1.0, error_type="SoldOut", failure_class=FailureClass.PERMANENT),
    ],
    "undo stay": [Reply(duration_s=1.0, error_type="Busy", failure_class=FailureClass.TRANSIENT)],
}

STORY = """
fly  forward 1 of 3  due 100 start 100 end 101    rank 0 done 0 busy 0 limit 10 succeeded
stay forward 1 of 2  due 101 start 101 end 106    rank 1 done 1 busy 0 limit 5 timed_out
stay forward 2 of 2  due 106.5 start 106.5 end 107.5    rank 1 done 1 busy 0 limit 5 refused SoldOut permanent
stay undo 1 of 10  due 107.5 start 107.5 end 108.5    rank 1 done 1 busy 0 limit 7 refused Busy transient
stay undo 2 of 10  due 109 start 109 end 110    rank 1 done 1 busy 0 limit 7 succeeded
fly  undo 1 of 10  due 110 start 110 end 111    rank 0 done 0 busy 0 limit 10 succeeded
"""


def told(row: AttemptRow) -> str:
    times = f"due {row.scheduled_at:g} start {row.started_at:g} end {row.ended_at:g}"
    place = f"rank {row.position} done {row.steps_done} busy {row.in_flight} limit {row.timeout_s:g}"
    end = f"{row.outcome} {row.error_type} {row.failure_class or ''}".strip()
    number = f"{row.direction} {row.attempt} of {row.maximum_attempts}"
    return f"{row.step:<4} {number}  {times}    {place} {end}"


def test_a_compensated_run_is_told_attempt_by_attempt(play: Callable[..., Any]) -> None:
    """A timeout, a retry, a refusal and retried undos give exactly the rows of the hand-written story."""
    played = play(TRIP, SCRIPT)
    assert [told(row) for row in played.attempts] == STORY.strip().splitlines()


def test_rows_carry_the_launch(play: Callable[..., Any]) -> None:
    """Every row holds the run, the definition, the assignment and the scalars of the caller's context."""
    played = play(TRIP, launches=[("r9", 100.0, {"season": "high", "party": 3, "vip": True, "odd": [1]})])
    row = played.attempts[0]
    assert (row.run_id, row.saga, row.definition_hash) == ("r9", "trip", TRIP.definition_hash)
    assert (row.step, row.service, row.region, row.kind) == ("fly", "air", "eu", Kind.COMPENSATABLE)
    assert (row.launch_at, row.arm, row.propensity, row.fallback) == (100.0, "advised", 1.0, True)
    assert row.context == {"season": "high", "party": 3, "vip": True}


def test_the_run_row_closes_the_story(play: Callable[..., Any]) -> None:
    """The run's row comes last, with status, reason, times and the cost by the shared definition."""
    run = play(TRIP, SCRIPT).rows[-1]
    assert isinstance(run, RunRow)
    assert (run.status, run.launch_at, run.ended_at, run.latency_s) == (
        Status.COMPENSATED,
        100.0,
        111.0,
        11.0,
    )
    assert run.reason == "step 'stay' failed: SoldOut"
    assert (run.cost, run.wasted_cost) == (10.0 + 5.0 + 5.5 + 20.0, 15.0)


def test_calls_under_way_are_counted_per_service(play: Callable[..., Any]) -> None:
    """`in_flight` counts the service's other calls, of this run and of others, and not those that ended."""
    saga = Saga(
        name="pair",
        steps=(Step(name="a", service="s"), Step(name="b", service="s"), Step(name="c", service="t")),
        stages=(("a", "b"), ("c",)),
    )
    script = {"a": [Reply(duration_s=5.0)], "b": [Reply(duration_s=2.0)]}
    played = play(saga, script, [("r1", 100.0, {}), ("r2", 103.0, {})])
    busy = {(row.run_id, row.step): row.in_flight for row in played.attempts}
    assert busy == {
        ("r1", "a"): 0,
        ("r1", "b"): 1,
        ("r2", "a"): 1,
        ("r2", "b"): 2,
        ("r1", "c"): 0,
        ("r2", "c"): 0,
    }


def test_a_crash_leaves_the_start_missing() -> None:
    """An attempt closed after a restart is a row whose start and load are None, and gives no duration."""
    started = RunStarted(
        run_id="r1", at=100.0, definition_hash=TRIP.definition_hash, plan=author_plan(TRIP), context={"n": 1}
    )
    before = begin(TRIP, started)
    before = machine.apply(
        before, AttemptStarted(at=100.0, step="fly", direction=Direction.FORWARD, attempt=1)
    )
    crashed = AttemptUnknown(
        at=500.0, step="fly", direction=Direction.FORWARD, attempt=1, reason=UnknownReason.CRASHED
    )
    (row,) = Recorder(LaunchFeatures()).observe(machine.apply(before, crashed), crashed)
    assert isinstance(row, AttemptRow)
    assert (row.outcome, row.ended_at) == (AttemptOutcome.CRASHED, 500.0)
    missing = (row.started_at, row.scheduled_at, row.steps_done, row.in_flight, row.duration_s)
    assert missing == (None, None, None, None, None)
    assert (row.launch_at, row.position, row.timeout_s, row.context) == (100.0, 0, 10.0, {"n": 1})
    assert row.features == {}


def test_a_late_start_is_told_from_its_due_time() -> None:
    """An attempt that a slow host starts after its backoff was over keeps when it was due."""
    started = RunStarted(run_id="r1", at=100.0, definition_hash=TRIP.definition_hash, plan=author_plan(TRIP))
    fly: dict[str, Any] = {"step": "fly", "direction": Direction.FORWARD}
    recorder, state, rows = Recorder(), begin(TRIP, started), list[Row]()
    happened: list[Event] = [
        AttemptStarted(at=100.0, attempt=1, **fly),
        AttemptFailed(at=101.0, attempt=1, error_type="Busy", jitter=0.5, **fly),
        AttemptStarted(at=103.0, attempt=2, **fly),
        AttemptSucceeded(at=104.0, attempt=2, **fly),
    ]
    for event in happened:
        state = machine.apply(state, event)
        rows.extend(recorder.observe(state, event))
    times = [(row.scheduled_at, row.started_at) for row in rows if isinstance(row, AttemptRow)]
    assert times == [(100.0, 100.0), (101.5, 103.0)]


def test_a_run_forgotten_with_open_calls_no_longer_counts() -> None:
    """A run that ends while a call is open takes the call off its service's load."""
    recorder = Recorder()
    for run_id in ("r1", "r2"):
        started = RunStarted(
            run_id=run_id, at=1.0, definition_hash=TRIP.definition_hash, plan=author_plan(TRIP)
        )
        state = begin(TRIP, started)
        recorder.observe(state, started)
        start = AttemptStarted(at=1.0, step="fly", direction=Direction.FORWARD, attempt=1)
        state = machine.apply(state, start)
        recorder.observe(state, start)
        if run_id == "r1":
            ended = RunEnded(at=2.0, status=Status.NEEDS_ATTENTION)
            recorder.observe(machine.apply(state, ended), ended)
    done = AttemptSucceeded(at=3.0, step="fly", direction=Direction.FORWARD, attempt=1)
    (row,) = recorder.observe(machine.apply(state, done), done)
    assert isinstance(row, AttemptRow)
    assert row.in_flight == 0


def test_features_are_those_of_the_launch(play: Callable[..., Any]) -> None:
    """All rows of a step carry the features computed at the launch, retries and undos included."""
    features = LaunchFeatures()
    played = play(TRIP, SCRIPT, [("r1", 100.0, {}), ("r2", 1_000.0, {})], features)
    fresh = LaunchFeatures().features(TRIP, {}, 100.0)
    assert all(row.features == fresh[row.step] for row in played.attempts if row.run_id == "r1")
    assert {row.features["runs_in_flight"] for row in played.attempts} == {0.0}
    later = [row for row in played.attempts if row.run_id == "r2"]
    assert all(row.features["service_failure_7d"] > 0.05 for row in later if row.step == "stay")


def test_a_clock_that_steps_back_costs_the_features_only(play: Callable[..., Any]) -> None:
    """A launch before what the history already knows is recorded without features, and raises nothing."""
    features = LaunchFeatures()
    play(TRIP, launches=[("r1", 100.0, {})], features=features)
    features.features(TRIP, {}, 500.0)
    played = play(TRIP, launches=[("r2", 50.0, {})], features=features)
    assert len(played.attempts) == 3
    assert [row.features for row in played.attempts] == [{}, {}, {}]


def test_live_signals_are_those_of_the_rows(play: Callable[..., Any]) -> None:
    """A fold fed live and a fold fed with the stored rows' signals end in the same state."""
    live, replayed = LaunchFeatures(), LaunchFeatures()
    played = play(TRIP, SCRIPT, [("r1", 100.0, {}), ("r2", 100.0, {})], live)
    for signal in signals(reversed(played.rows)):
        replayed.observe(signal)
    live.features(TRIP, {}, 1_000.0)
    replayed.features(TRIP, {}, 1_000.0)
    assert live.snapshot() == replayed.snapshot()
