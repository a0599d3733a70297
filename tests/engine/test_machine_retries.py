"""What ends retries, and what puts them off: budgets, final refusals, Retry-After, timeouts, delays."""

from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine.advisor import Launch, author_advice
from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine.machine import advance
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.machine.verdict import would_retry
from sagacity_engine.parts import Compensation, Kind, LaunchFreedom, Lock, SagaFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy
from sagacity_engine.testing import (
    DOWN,
    LATE,
    LOST,
    REFUSED,
    SUCCESS,
    ScriptedServices,
    play,
    violations,
)
from sagacity_engine.virtual.host import Reply, VirtualHost

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
ONCE = RetryPolicy(maximum_attempts=1)
FIVE = RetryPolicy(maximum_attempts=5)


def saga(**fields: Any) -> Saga:
    return Saga(name="s", steps=(Step(name="a", **fields),))


def running(definition: Saga) -> RunState:
    """A run whose first step is in flight."""
    plan = author_plan(definition)
    state = begin(
        definition, RunStarted(run_id="r", at=0, definition_hash=definition.definition_hash, plan=plan)
    )
    advance(state, [], 0)
    return state


def refused(**fields: Any) -> AttemptFailed:
    return AttemptFailed(at=1, step="a", direction=FORWARD, attempt=1, error_type="No", **fields)


def test_a_run_has_so_many_retries_and_no_more() -> None:
    """`retry_budget` counts the retries of all steps of a run; first attempts are free."""
    steps = (Step(name="a", retry=FIVE), Step(name="b", retry=FIVE))
    for budget in (0, 1, 3):
        definition = Saga(name="s", steps=steps, retry_budget=budget)
        script = {("a", FORWARD): [DOWN, DOWN, SUCCESS], ("b", FORWARD): [DOWN]}
        trial = play(definition, script).sound()
        assert len(trial.started()) - len(set(trial.started())) == budget
        assert trial.ended[0] is Status.COMPENSATED


def test_steps_side_by_side_share_the_budget() -> None:
    """Retries that were granted but not yet made count: failing together does not stretch the budget."""
    steps = tuple(Step(name=name, retry=FIVE) for name in ("a", "b", "c"))
    definition = Saga(name="s", steps=steps, retry_budget=1, stages=(("a", "b", "c"),))
    trial = play(definition, {(name, FORWARD): [DOWN] for name in ("a", "b", "c")}).sound()
    assert len(trial.started()) <= 4


def test_the_services_budget_ends_retries_too() -> None:
    """An event that says `retry_refused` is final, whatever the plan still allows."""
    state = running(saga())
    assert would_retry(state, refused())
    assert not would_retry(state, refused(retry_refused=True))
    advance(state, [refused(retry_refused=True)], 1)
    assert state.steps["a"].phase is StepPhase.FAILED


def test_an_advisor_asked_again_may_choose_the_strategy() -> None:
    """The strategy in the event stands in for the plan's, for this failure."""
    state = running(saga())
    event = refused(strategy=Strategy.IMMEDIATE_FULL_COMPENSATION)
    assert not would_retry(state, event)
    advance(state, [event], 1)
    assert state.steps["a"].phase is StepPhase.FAILED


def test_retry_after_is_honoured() -> None:
    """A participant that says when to come back is not asked sooner, nor sooner than the backoff."""
    for asked_s, expected in ((20.0, 21.0), (0.1, 1.5)):
        busy = replace(DOWN, retry_after_s=asked_s)
        trial = play(saga(), {("a", FORWARD): [busy, SUCCESS]}).sound()
        assert trial.times(AttemptStarted) == [0.0, expected]


def test_a_terminal_refusal_is_never_tried_again() -> None:
    """Neither the action nor the compensation is asked again after a refusal that says so."""
    trial = play(saga(retry=FIVE), {("a", FORWARD): [REFUSED]}).sound()
    assert trial.started() == ["a"]
    definition = Saga(name="s", steps=(Step(name="a"), Step(name="b", retry=ONCE)))
    trial = play(definition, {("b", FORWARD): [DOWN], ("a", UNDO): [REFUSED]}).sound()
    assert (trial.started(UNDO), trial.ended) == (["a"], (Status.NEEDS_ATTENTION, "a"))


def test_schedule_to_close_ends_the_attempts() -> None:
    """No attempt is made that would start after the time for all of them, and the last one is cut short."""
    definition = saga(schedule_to_close_timeout_s=4.0, retry=FIVE)
    quick = replace(DOWN, duration_s=0.4)
    trial = play(definition, {("a", FORWARD): [quick]}).sound()
    assert [round(at, 9) for at in trial.times(AttemptStarted)] == [0.0, 0.9, 2.3]
    cut = play(saga(schedule_to_close_timeout_s=4.0), {("a", FORWARD): [LATE]}).sound()
    assert (cut.times(AttemptUnknown), cut.started(UNDO)) == ([4.0], ["a"])


def test_schedule_to_close_does_not_cut_a_pivot_in_doubt() -> None:
    """Only another try can settle it, so it is tried beyond its time."""
    definition = saga(kind=Kind.PIVOT, idempotent=True, schedule_to_close_timeout_s=1.2)
    trial = play(definition, {("a", FORWARD): [LOST, LOST, SUCCESS]}).sound()
    assert (trial.ended[0], len(trial.started())) == (Status.COMPLETED, 3)


@pytest.mark.parametrize(
    ("on_timeout", "fields", "attempts", "status", "undone"),
    [
        (OnTimeout.RETRY, {"idempotent": True}, 2, Status.COMPLETED, 0),
        (OnTimeout.SKIP, {"optional": True, "idempotent": True}, 1, Status.COMPLETED, 1),
        (OnTimeout.COMPENSATE, {"idempotent": True}, 1, Status.COMPENSATED, 1),
        (None, {"idempotent": True}, 2, Status.COMPLETED, 0),
        (None, {}, 1, Status.COMPENSATED, 1),
    ],
)
def test_what_a_timeout_leads_to(
    on_timeout: OnTimeout | None, fields: dict[str, Any], attempts: int, status: Status, undone: int
) -> None:
    """RETRY repeats, SKIP goes on without the step, COMPENSATE gives it up; else idempotency decides."""
    trial = play(saga(on_timeout=on_timeout, **fields), {("a", FORWARD): [LATE, SUCCESS]}).sound()
    assert (len(trial.started()), trial.ended[0], len(trial.started(UNDO))) == (attempts, status, undone)


def test_on_timeout_overrules_the_strategy_and_says_nothing_of_refusals() -> None:
    """RETRY repeats a timeout where the strategy would not; a lost reply is no timeout."""
    never = OnFailure.all(Strategy.IMMEDIATE_FULL_COMPENSATION)
    definition = saga(on_timeout=OnTimeout.RETRY, idempotent=True, on_failure=never)
    assert len(play(definition, {("a", FORWARD): [LATE, SUCCESS]}).sound().started()) == 2
    assert len(play(definition, {("a", FORWARD): [LOST]}).sound().started()) == 1
    assert len(play(definition, {("a", FORWARD): [DOWN]}).sound().started()) == 1


def test_a_lost_heartbeat_is_a_timeout() -> None:
    """What the plan says about timeouts holds for a call that fell silent."""
    state = running(saga(on_timeout=OnTimeout.COMPENSATE, idempotent=True))
    silent = AttemptUnknown(at=1, step="a", direction=FORWARD, attempt=1, reason=UnknownReason.HEARTBEAT_LOST)
    assert not would_retry(state, silent)
    assert would_retry(state, replace(silent, reason=UnknownReason.LOST_REPLY))


def test_a_refused_step_may_be_undone_too() -> None:
    """With `after_failure` the compensation of a refused step runs; that of an untouched one does not."""
    undo = Compensation(after_failure=True)
    definition = Saga(name="s", steps=(Step(name="a", compensation=undo), Step(name="b", compensation=undo)))
    trial = play(definition, {("a", FORWARD): [DOWN]}).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "a"), ["a"])
    assert (trial.phase("a"), trial.phase("b")) == (StepPhase.UNDONE, StepPhase.PENDING)


def test_an_optional_refused_step_is_undone_before_the_run_goes_on() -> None:
    """What it may have left is gone before anything that waits for it starts; if not, the end says so."""
    undo = Compensation(after_failure=True, retry=ONCE)
    definition = Saga(name="s", steps=(Step(name="a", optional=True, compensation=undo), Step(name="b")))
    trial = play(definition, {("a", FORWARD): [DOWN]}).sound()
    assert (trial.ended[0], trial.started(UNDO)) == (Status.COMPLETED, ["a"])
    trial = play(definition, {("a", FORWARD): [DOWN], ("a", UNDO): [DOWN]}).sound()
    assert (trial.ended, trial.phase("b")) == ((Status.NEEDS_ATTENTION, "a"), StepPhase.SUCCEEDED)


def test_a_plan_may_delay_the_launch() -> None:
    """Nothing starts before the delay is over; deadlines and cancellations count all the same."""
    definition = replace(saga(), freedom=SagaFreedom(launch=LaunchFreedom(wait_s_max=60)))
    plan = replace(author_plan(definition), launch_delay_s=30.0)
    assert play(definition, {}, plan).sound().times(AttemptStarted) == [30.0]
    trial = play(definition, {}, plan, wishes=[(9.0, CancelRequested(at=0, who="Asha"))]).sound()
    assert (trial.ended, trial.times(AttemptStarted)) == ((Status.COMPENSATED, ""), [])
    hasty = replace(definition, deadline_s=10.0)
    plan = replace(plan, definition_hash=hasty.definition_hash)
    assert play(hasty, {}, plan).sound().times(DeadlineReached) == [10.0]


def test_a_run_holds_its_locks_from_start_to_end() -> None:
    """A second run for the same room waits until the first has ended; one for another room need not."""
    definition = replace(saga(), locks=(Lock(key="room-${input.room}"),))
    journals: dict[str, list[Event]] = {}
    host = VirtualHost(ScriptedServices({}), lambda *_: 0.5, journals=journals)
    for run_id, room in (("r1", 4), ("r2", 4), ("r3", 5)):
        launch = Launch(run_id=run_id, context={}, at=0.0)
        host.launch(definition, launch, lambda *_: author_advice(definition, ""), run_input={"room": room})
    host.run()
    held = {
        run_id: (events[0].locks, events[1].at, events[-1].at)
        for run_id, events in journals.items()
        if isinstance(events[0], RunStarted)
    }
    assert held == {
        "r1": (("room-4",), 0.0, 1.0),
        "r2": (("room-4",), 1.0, 2.0),
        "r3": (("room-5",), 0.0, 1.0),
    }
    assert all(violations(definition, events) == () for events in journals.values())


def test_a_run_that_is_taken_back_queues_for_its_locks_again() -> None:
    """It let them go when it completed, so its undos wait until it holds them once more."""
    definition = replace(saga(), locks=(Lock(key="till"),))
    undo = OperatorActed(at=0, action=Action.UNDO, who="Asha", why="rain")
    trial = play(definition, {}, wishes=[(9.0, undo)]).sound()
    assert (trial.ended[0], trial.times(LocksAcquired)) == (Status.COMPENSATED, [0.0, 9.0])


def test_a_deadline_passes_while_a_run_queues_for_its_locks() -> None:
    """A run that never held its locks is over without having started anything."""
    definition = replace(saga(), locks=(Lock(key="till"),), deadline_s=5.0)
    plan = author_plan(definition)
    started = RunStarted(
        run_id="r", at=0, definition_hash=definition.definition_hash, plan=plan, locks=("till",)
    )
    state = begin(definition, started)
    assert advance(state, [], 0) == ([], [])
    journal, launches = advance(state, [], 5)
    assert [type(event).__name__ for event in journal] == ["DeadlineReached", "RunEnded"]
    assert (launches, state.status) == ([], Status.COMPENSATED)


def test_the_answer_decides_between_replies_of_one_moment() -> None:
    """A reply exactly at the timeout still counts: the call had that long."""
    exact = Reply(duration_s=10)
    assert play(saga(), {("a", FORWARD): [exact]}).sound().ended[0] is Status.COMPLETED
