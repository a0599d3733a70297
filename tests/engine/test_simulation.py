"""Hundreds of random sagas, plans and misfortunes in virtual time, each held to the invariants."""

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagacity_engine import codec
from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    DeadlineReached,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine import apply, replay
from sagacity_engine.parts import Compensation, Kind, SagaFreedom
from sagacity_engine.phases import StepPhase
from sagacity_engine.plan import Plan, author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import Effect, ScriptedServices, violations
from sagacity_engine.virtual import Reply, VirtualHost

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
RETRIES = st.builds(RetryPolicy, maximum_attempts=st.integers(1, 3), initial_interval_s=st.just(1.0))
REPLIES = st.lists(
    st.builds(
        Reply,
        duration_s=st.sampled_from([0.0, 1.0, 2.0, 3.0, 50.0]),
        error_type=st.sampled_from(["", "", "", "Down"]),
        failure_class=st.sampled_from(FailureClass),
        lost=st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=3,
)
STRATEGIES = st.builds(OnFailure, *(), **{key: st.sampled_from(Strategy) for key in OnFailure.__slots__})


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    """Small legal sagas of every shape: parallel and chained, with and without pivot, optional steps."""
    count = draw(st.integers(1, 6))
    pivot = draw(st.integers(-1, count - 1))
    steps: list[Step] = []
    for number in range(count):
        names = [step.name for step in steps if not (number < pivot and step.kind is Kind.PIVOT)]
        before = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=2))) if names else ()
        kinds = (
            [Kind.RETRIABLE] if 0 <= pivot < number else [Kind.COMPENSATABLE, Kind.READ_ONLY, Kind.RETRIABLE]
        )
        kind = Kind.PIVOT if number == pivot else draw(st.sampled_from(kinds))
        undoable = kind is Kind.COMPENSATABLE or (
            kind is Kind.RETRIABLE and (number < pivot or draw(st.booleans()))
        )
        steps.append(
            Step(
                name=f"s{number}",
                kind=kind,
                after=before,
                start_to_close_timeout_s=5.0,
                retry=draw(RETRIES),
                idempotent=draw(st.booleans()),
                optional=kind is not Kind.PIVOT and draw(st.sampled_from([False, False, True])),
                compensation=Compensation(retry=draw(RETRIES)) if undoable else None,
            )
        )
    deadline_s = draw(st.sampled_from([None, None, 3.0, 9.0]))
    return Saga(
        name="random",
        steps=tuple(steps),
        deadline_s=deadline_s,
        freedom=SagaFreedom(parallel=True, compensation=True),
    )


@st.composite
def plans(draw: st.DrawFn, saga: Saga) -> Plan:
    """The author's plan, or as parallel as the arcs allow, with random strategies."""
    plan = author_plan(saga)
    parallel = draw(st.booleans())
    return replace(
        plan,
        steps=tuple(
            replace(
                step,
                after=tuple(sorted(saga.arcs[step.name])) if parallel else step.after,
                on_failure=draw(STRATEGIES),
            )
            for step in plan.steps
        ),
    )


def play(
    saga: Saga, plan: Plan, script: dict[tuple[str, Direction], list[Reply]]
) -> tuple[list[Event], list[Effect]]:
    events: list[Event] = []
    services = ScriptedServices(script, acts=lambda attempt, _: attempt.attempt % 2 == 1)
    host = VirtualHost(services, lambda *_: 0.25, lambda _, event: events.append(event))
    host.launch(saga, Launch(run_id="r", context={}, at=0.0), lambda *_: Advice(plan=plan))
    host.run()
    return events, services.ledger.get("r", [])


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_random_runs_keep_every_invariant(data: st.DataObject) -> None:
    """Whatever the saga, the plan and the replies: the run ends, the invariants hold, the replay agrees."""
    saga = data.draw(sagas())
    plan = data.draw(plans(saga))
    keys = [(step.name, direction) for step in saga.steps for direction in Direction]
    script = {key: data.draw(REPLIES) for key in keys}
    events, ledger = play(saga, plan, script)
    assert violations(saga, events, ledger) == ()
    assert play(saga, plan, script) == (events, ledger)
    kept = [codec.decode(*codec.encode(event)) for event in events]
    assert replay(saga, kept) == replay(saga, events)


def sample() -> tuple[list[Event], list[Effect]]:
    """A run that turns back, with its ledger."""
    return play(CHAIN, author_plan(CHAIN), {("pay", FORWARD): [Reply(duration_s=1, error_type="No")]})


CHAIN = Saga(
    name="chain",
    steps=(
        Step(name="a"),
        Step(name="b", after=("a",)),
        Step(name="pay", kind=Kind.PIVOT, retry=RetryPolicy(maximum_attempts=1)),
    ),
)


def test_the_sample_run_is_clean() -> None:
    """The run that the next tests spoil is in order before they do."""
    events, ledger = sample()
    assert violations(CHAIN, events, ledger) == ()
    assert isinstance(events[-1], RunEnded)
    assert events[-1].status is Status.COMPENSATED


def test_the_checker_sees_each_planted_breach() -> None:
    """Every invariant of the checker can fail: a spoiled story is caught under the right name."""
    events, ledger = sample()
    of = {
        (type(e).__name__, getattr(e, "step", ""), getattr(e, "direction", None)): i
        for i, e in enumerate(events)
    }
    undo_a, undo_b = of["AttemptStarted", "a", UNDO], of["AttemptStarted", "b", UNDO]
    spoiled: dict[str, tuple[list[Event], list[Effect]]] = {
        "I1 the run has not ended": (events[:-1], ledger),
        "I1 AttemptStarted after the end": ([*events, events[1]], ledger),
        "I2 step 'b' started before 'a'": ([events[0], *events[3:5], *events[1:3], *events[5:]], ledger),
        "I3 step 'a' may stand": (events[:undo_a] + events[-1:], ledger),
        "I3 step 'pay' has no compensation": (
            [*events[:-1], AttemptStarted(at=99, step="pay", direction=UNDO, attempt=1), events[-1]],
            ledger,
        ),
        "I4 step 'a' was undone before 'b'": (
            [*events[:undo_b], *events[undo_a:-1], *events[undo_b:undo_a], events[-1]],
            ledger,
        ),
        "I5 step 'pay' started forward after": (
            [*events[:-1], AttemptStarted(at=99, step="pay", direction=FORWARD, attempt=2), events[-1]],
            ledger,
        ),
        "I6 step 'b' took effect 2 times": (events, [*ledger, ledger[1]]),
        "I6 step 'a' succeeded without an effect": (events, ledger[1:]),
        "I7 step 'a' took effect (forward, attempt 7) without an intent": (
            events,
            [*ledger, replace(ledger[0], attempt=7)],
        ),
        "I7 step 'a': the outcome": ([events[0], *events[2:]], ledger),
        "I8 a run's events begin": (events[1:], ledger),
        "I10 time went back": ([*events[:-1], replace(events[-1], at=-1.0)], ledger),
    }
    missed = {
        name: violations(CHAIN, story, effects)
        for name, (story, effects) in spoiled.items()
        if not any(found.startswith(name) for found in violations(CHAIN, story, effects))
    }
    assert missed == {}


def test_the_simulation_reaches_the_situations_that_matter() -> None:
    """Over the random runs, each hard situation really comes up, many times."""
    seen: Counter[str] = Counter()

    @given(st.data())
    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    def watch(data: st.DataObject) -> None:
        saga = data.draw(sagas())
        plan = data.draw(plans(saga))
        keys = [(step.name, direction) for step in saga.steps for direction in Direction]
        events, _ = play(saga, plan, {key: data.draw(REPLIES) for key in keys})
        seen.update(situations(saga, events))

    watch()
    wanted = {
        *(f"ended {status.value}" for status in Status if status.ended),
        *(f"reached {phase.value}" for phase in StepPhase),
        "timed out",
        "lost reply",
        "refused",
        "undo refused",
        "undo uncertain",
        "deadline",
        "two undos in flight",
        "two steps in flight",
    }
    assert {name for name in wanted if seen[name] < 5} == set()


def situations(saga: Saga, events: list[Event]) -> set[str]:
    first = events[0]
    assert isinstance(first, RunStarted)
    found: set[str] = set()
    state = replay(saga, [first])
    for event in events[1:]:
        state = apply(state, event)
        phases = Counter(step.phase for step in state.steps.values())
        found |= {f"reached {phase.value}" for phase in phases}
        found |= {"two undos in flight"} if phases[StepPhase.UNDOING] > 1 else set()
        found |= {"two steps in flight"} if phases[StepPhase.RUNNING] > 1 else set()
        match event:
            case AttemptUnknown(reason=UnknownReason.TIMED_OUT, direction=Direction.FORWARD):
                found.add("timed out")
            case AttemptUnknown(direction=Direction.FORWARD):
                found.add("lost reply")
            case AttemptUnknown():
                found.add("undo uncertain")
            case AttemptFailed(direction=Direction.FORWARD):
                found.add("refused")
            case AttemptFailed():
                found.add("undo refused")
            case DeadlineReached():
                found.add("deadline")
            case RunEnded(status=status):
                found.add(f"ended {status.value}")
            case RunStarted() | AttemptStarted() | AttemptSucceeded():
                pass
            case _:
                pass
    return found
