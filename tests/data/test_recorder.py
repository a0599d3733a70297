from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import (
    AttemptOutcome,
    AttemptRow,
    FailureKind,
    LabelSource,
    LaunchFeatures,
    Recorder,
    Row,
    RunRow,
    signals,
)
from sagacity_data.redaction import Redaction, dropping
from sagacity_data.telling import Telling
from sagacity_engine import (
    Approval,
    Breaker,
    Compensation,
    CostPolicy,
    Direction,
    FailureClass,
    Kind,
    Probe,
    RetryPolicy,
    Saga,
    Status,
    Step,
    SubSaga,
    author_plan,
)
from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    ProbeAnswered,
    RunEnded,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState, begin
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
stay forward 2 of 2  due 106.5 start 106.5 end 107.5    rank 1 done 1 busy 0 limit 5 failed SoldOut permanent
stay undo 1 of 10  due 107.5 start 107.5 end 108.5    rank 1 done 1 busy 0 limit 7 failed Busy transient
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


def launch(saga: Saga, recorder: Recorder, **changes: Any) -> RunState:
    told: dict[str, Any] = {"run_id": "r1", "at": 100.0, "input": {"who": "Zo\u00eb"}, **changes}
    started = RunStarted(definition_hash=saga.definition_hash, plan=author_plan(saga), **told)
    state = begin(saga, started)
    assert recorder.observe(state, started) == ()
    return state


def tell(recorder: Recorder, state: RunState, *events: Event) -> list[Row]:
    rows: list[Row] = []
    for event in events:
        machine.fold(state, event)
        rows += recorder.observe(state.copy(), event)
    return rows


def start(
    step: str, attempt: int = 1, direction: Direction = Direction.FORWARD, at: float = 101.0
) -> AttemptStarted:
    return AttemptStarted(at=at, step=step, direction=direction, attempt=attempt)


def succeed(step: str, attempt: int = 1, direction: Direction = Direction.FORWARD) -> AttemptSucceeded:
    return AttemptSucceeded(at=102.0, step=step, direction=direction, attempt=attempt)


def test_the_plan_in_force_is_in_every_row(play: Callable[..., Any]) -> None:
    """Stage is the longest path to the step, ranks follow the starts, no breaker holds up an undo."""
    saga = Saga(
        name="web",
        version="2.1",
        steps=(
            Step(name="a", compensation=Compensation()),
            Step(name="b", breaker=Breaker(failure_threshold=3, open_s=2.5), compensation=Compensation()),
            Step(name="c", after=("a",), retry=RetryPolicy(maximum_attempts=1), kind=Kind.READ_ONLY),
        ),
        stages=(("a", "b"), ("c",)),
    )
    no = Reply(duration_s=1.0, error_type="No", failure_class=FailureClass.PERMANENT)
    played = play(saga, {"c": [no]})
    told = [
        (row.step, row.direction, row.rank, row.stage, row.breaker, row.version) for row in played.attempts
    ]
    words = "opens after 3 failures for 2.5 s, 1 probe at a time"
    assert told[:3] == [
        ("a", "forward", 0, 0, "", "2.1"),
        ("b", "forward", 1, 0, words, "2.1"),
        ("c", "forward", 2, 1, "", "2.1"),
    ]
    assert {line[:2]: line[4] for line in told[3:]} == {("a", "undo"): "", ("b", "undo"): ""}
    assert sorted(line[2] for line in told[3:]) == [3, 4]


def test_a_launch_is_told_with_tenant_size_and_parent() -> None:
    """The input's size is that of its compact UTF-8 JSON; the tenant comes from the context; a sub-saga's run
    names the run above it."""
    recorder = Recorder()
    state = launch(TRIP, recorder, context={"tenant": "acme"}, parent="outer")
    rows = tell(recorder, state, start("fly"), succeed("fly"), RunEnded(at=103.0, status=Status.ABANDONED))
    attempt, run = rows
    assert isinstance(attempt, AttemptRow)
    assert isinstance(run, RunRow)
    assert [(row.tenant, row.input_bytes, row.source, row.version) for row in rows] == [
        ("acme", 14, "engine", "1")
    ] * 2
    assert run.parent == "outer"


def test_the_tenant_may_be_found_elsewhere() -> None:
    """`tenant_of` sees the context as the redaction left it; one that fails leaves the tenant empty."""
    hooks = Telling(redaction=Redaction(dropping("org")), tenant_of=lambda context: ",".join(sorted(context)))
    failing = Telling(tenant_of=lambda context: str(context["nobody"]))
    for telling, tenant in ((hooks, "party"), (failing, "")):
        recorder = Recorder(telling=telling)
        state = launch(TRIP, recorder, context={"org": "acme", "party": 2})
        (_, run) = tell(
            recorder, state, start("fly"), succeed("fly"), RunEnded(at=103.0, status=Status.ABANDONED)
        )[-2:]
        assert run.tenant == tenant


def test_the_breaker_is_asked_when_an_attempt_starts() -> None:
    """Its state is that of the step's service at the start; a hook that fails leaves it empty."""
    states = {"air": "half_open"}
    recorder = Recorder(telling=Telling(breaker_state=lambda service: states[service]))
    state = launch(TRIP, recorder)
    events: list[Event] = [start("fly"), succeed("fly"), start("stay"), succeed("stay")]
    machine.fold(state, events[0])
    recorder.observe(state, events[0])
    states["air"] = "open"
    rows = tell(recorder, state, *events[1:])
    assert [row.breaker_state for row in rows if isinstance(row, AttemptRow)] == ["half_open", ""]


def ended(**changes: Any) -> AttemptRow:
    """The row of an attempt of `fly` that ended so."""
    recorder = Recorder()
    state = launch(TRIP, recorder)
    common: dict[str, Any] = {"at": 105.0, "step": "fly", "direction": Direction.FORWARD, "attempt": 1}
    kind = AttemptUnknown if "reason" in changes else AttemptFailed
    (row,) = tell(recorder, state, start("fly"), kind(**common, **changes))
    assert isinstance(row, AttemptRow)
    return row


@pytest.mark.parametrize(
    ("event", "kind", "source"),
    [
        (
            {"error_type": "X", "failure_class": FailureClass.PERMANENT},
            FailureKind.BUSINESS,
            LabelSource.DECLARED,
        ),
        (
            {"error_type": "X", "failure_class": FailureClass.CASCADING},
            FailureKind.OVERLOAD,
            LabelSource.DECLARED,
        ),
        (
            {"error_type": "UNAVAILABLE", "failure_class": FailureClass.CASCADING},
            FailureKind.UNAVAILABLE,
            LabelSource.DECLARED,
        ),
        (
            {"error_type": "UNAVAILABLE", "failure_class": FailureClass.PERMANENT},
            FailureKind.BUSINESS,
            LabelSource.DECLARED,
        ),
        ({"error_type": "Http429"}, FailureKind.OVERLOAD, LabelSource.TAXONOMY),
        (
            {"error_type": "Odd", "message": "HTTP 503 from the other side"},
            FailureKind.OVERLOAD,
            LabelSource.TAXONOMY,
        ),
        ({"error_type": "NobodyKnows"}, FailureKind.UNKNOWN, LabelSource.TAXONOMY),
        ({"reason": UnknownReason.TIMED_OUT}, FailureKind.SLOW, LabelSource.TAXONOMY),
        ({"reason": UnknownReason.HEARTBEAT_LOST}, FailureKind.SLOW, LabelSource.TAXONOMY),
        (
            {"reason": UnknownReason.LOST_REPLY, "message": "503 service overloaded"},
            FailureKind.OVERLOAD,
            LabelSource.TAXONOMY,
        ),
    ],
)
def test_kinds_of_failure(event: dict[str, Any], kind: FailureKind, source: LabelSource) -> None:
    """A declared class is believed, made finer by words of that class only; else the words decide, and a
    timeout is slow. It is known when the attempt has ended."""
    row = ended(**event)
    assert (row.failure_kind, row.kind_source, row.kind_known_at) == (kind, source, 105.0)


def test_a_crash_and_a_success_have_no_kind() -> None:
    """What says nothing about the participant has no kind, no source and no time."""
    row = ended(reason=UnknownReason.CRASHED)
    assert (row.outcome, row.failure_kind, row.kind_source, row.kind_known_at) == (
        AttemptOutcome.CRASHED,
        None,
        None,
        None,
    )


def test_a_lost_heartbeat_is_a_timeout_of_ours() -> None:
    """It censors the attempt like any other timeout of the engine's."""
    assert ended(reason=UnknownReason.HEARTBEAT_LOST).outcome is AttemptOutcome.TIMED_OUT


def test_words_are_kept_without_what_differs() -> None:
    """An error's numbers and quoted values are in neither the row nor the run's reason."""
    recorder, said = Recorder(), "order 4711 of 'Ann' refused"
    state = launch(TRIP, recorder)
    failed = AttemptFailed(
        at=105.0,
        step="fly",
        direction=Direction.FORWARD,
        attempt=1,
        error_type="No",
        message=said,
        terminal=True,
    )
    done = RunEnded(at=106.0, status=Status.COMPENSATED, reason=f"step 'fly' failed: No: {said}")
    attempt, run = tell(recorder, state, start("fly"), failed, done)
    assert isinstance(attempt, AttemptRow)
    assert isinstance(run, RunRow)
    assert attempt.error_message == "order <n> of <text> refused"
    assert run.reason == "step 'fly' failed: No: order <n> of <text> refused"


def test_probes_and_hedges_make_no_rows_of_their_own() -> None:
    """A hedge is part of its attempt; a probe answers for an attempt whose row stays unknown."""
    saga = Saga(
        name="pay", steps=(Step(name="pay", idempotent=True, probe=Probe(), compensation=Compensation()),)
    )
    recorder = Recorder()
    state = launch(saga, recorder)
    unknown = AttemptUnknown(
        at=103.0, step="pay", direction=Direction.FORWARD, attempt=1, reason=UnknownReason.TIMED_OUT
    )
    rows = tell(
        recorder,
        state,
        start("pay"),
        AttemptHedged(at=102.0, step="pay", attempt=1),
        unknown,
        start("pay", direction=Direction.PROBE, at=104.0),
        ProbeAnswered(at=105.0, step="pay", attempt=1, answer=Answer.HAPPENED),
        RunEnded(at=106.0, status=Status.COMPLETED),
    )
    assert [type(row).__name__ for row in rows] == ["AttemptRow", "RunRow"]
    (attempt, _) = rows
    assert isinstance(attempt, AttemptRow)
    assert (attempt.started_at, attempt.ended_at, attempt.outcome) == (101.0, 103.0, AttemptOutcome.TIMED_OUT)
    assert recorder.whole


def test_approvals_and_inner_sagas_are_no_calls() -> None:
    """Waiting for a person or for a saga makes no row, counts for no rank and for no load."""
    inner = Saga(name="inner", steps=(Step(name="x", compensation=Compensation()),))
    saga = Saga(
        name="outer",
        steps=(
            Step(name="ask", kind=Kind.READ_ONLY, approval=Approval()),
            Step(name="in", sub_saga=SubSaga(saga=inner), compensation=Compensation()),
            Step(name="do", compensation=Compensation()),
        ),
    )
    recorder = Recorder()
    state = launch(saga, recorder)
    events = [each for name in saga.names for each in (start(name), succeed(name))]
    rows = tell(recorder, state, *events, RunEnded(at=106.0, status=Status.COMPLETED))
    assert [(row.step, row.rank, row.steps_done) for row in rows if isinstance(row, AttemptRow)] == [
        ("do", 0, 2)
    ]
    assert recorder.whole


def test_recalled_rows_are_the_live_ones_but_for_the_moment(play: Callable[..., Any]) -> None:
    """A run told from its events alone gives the live rows without load, breaker's state and features."""
    played = play(TRIP, SCRIPT, [("r1", 100.0, {"party": 3})], LaunchFeatures())
    recalled = Recorder().recall(TRIP, played.events["r1"])
    assert recalled == [
        replace(row, in_flight=None, features={}) if isinstance(row, AttemptRow) else row
        for row in played.rows
    ]


def test_a_recalled_run_goes_on_live(play: Callable[..., Any]) -> None:
    """After the recall of its first half, a run's second half has ranks and starts, and the run is whole."""
    events = play(TRIP).events["r1"]
    recorder, half = Recorder(), 4  # The start, `fly` and the intent of `stay`.
    assert [row.key[1] for row in recorder.recall(TRIP, events[:half]) if isinstance(row, AttemptRow)] == [
        "fly"
    ]
    state = machine.replay(TRIP, events[:half])
    rows = tell(recorder, state, *events[half:])
    attempts = [row for row in rows if isinstance(row, AttemptRow)]
    assert [(row.step, row.rank, row.started_at, row.in_flight) for row in attempts] == [
        ("stay", 1, 101.0, None),
        ("pay", 2, 102.0, 0),
    ]
    assert recorder.whole


def test_a_run_that_was_not_recalled_is_not_whole(play: Callable[..., Any]) -> None:
    """A recorder that saw only the second half says so when the run has ended."""
    events = play(TRIP).events["r1"]
    recorder = Recorder()
    tell(recorder, machine.replay(TRIP, events[:4]), *events[4:])
    assert not recorder.whole


def test_a_history_without_a_start_is_refused() -> None:
    """What does not begin with a start is no run's journal."""
    for events in ((), (start("fly"),)):
        with pytest.raises(IllegalEvent, match="must begin"):
            Recorder().recall(TRIP, events)
