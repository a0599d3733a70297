"""What the simulation found once, each as the smallest case that shows it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Compensation,
    Engine,
    FailureClass,
    Handler,
    MemoryJournal,
    OnFailure,
    RetryPolicy,
    RunRefused,
    Saga,
    SagaFreedom,
    Status,
    Step,
    StepError,
    Strategy,
    author_plan,
    bind,
)
from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    RolledBack,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.machine.machine import advance, fold
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.parts import Approval, Kind, Lock, WhenHeld
from sagacity_engine.saga import SubSaga
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

Act = Callable[[Call], Any]
ONCE = RetryPolicy(maximum_attempts=1)
FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


def nothing(call: Call) -> None:
    """A participant that does nothing."""


def no(call: Call) -> None:
    raise StepError("No", failure_class=FailureClass.PERMANENT)


def bound(saga: Saga, *actions: Act, undo: Act = nothing) -> BoundSaga:
    pairs = zip(saga.steps, (*actions, *[nothing] * len(saga.steps)), strict=False)
    undos = {step.name: undo for step in saga.steps if step.compensation is not None}
    return bind(saga, {step.name: Handler(act, undos.get(step.name)) for step, act in pairs})


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    run_in_virtual_time(run())


def times_of(events: tuple[Event, ...]) -> list[float]:
    return [event.at for event in events]


class Slow:
    """An advisor that takes its time about failures."""

    async def advise(self, saga: Saga, launch: Any) -> Advice:
        return Advice(plan=author_plan(saga))

    async def advise_on_failure(self, saga: Saga, failure: Any) -> Strategy | None:
        await asyncio.sleep(0.4)
        return None


def test_a_failure_that_waited_for_advice_does_not_turn_time_back() -> None:
    """An outcome is journaled no earlier than what happened while the advisor was asked about it."""
    saga = Saga(
        name="pair",
        steps=(Step(name="a", retry=ONCE), Step(name="b")),
        stages=(("a", "b"),),
        freedom=SagaFreedom(compensation=True),
    )

    async def slow(call: Call) -> None:
        await asyncio.sleep(0.2)

    async def main() -> None:
        journal = MemoryJournal()
        loop = asyncio.get_running_loop()
        sagas = [bound(saga, no, slow)]
        async with Engine(journal, sagas, advisor=Slow(), holdout_share=0.0, clock=loop.time) as engine:
            await engine.run("pair", run_id="r")
            events = journal.read("r")
            assert times_of(events) == sorted(times_of(events))
            assert violations(saga, events) == ()

    in_virtual_time(main)


def locked(way: WhenHeld, **fields: Any) -> Saga:
    return Saga(name="locked", steps=(Step(name="a", **fields),), locks=(Lock(key="room", when_held=way),))


def test_a_start_that_waits_for_a_resource_ends_with_the_engine() -> None:
    """Whoever waits to start a run is told when the engine closes, though the resource is never free."""

    async def forever(call: Call) -> None:
        await asyncio.sleep(1_000)

    async def main() -> None:
        engine = Engine(MemoryJournal(), [bound(locked(WhenHeld.WAIT), forever)], shutdown_s=0.1)
        async with engine:
            await engine.start("locked", run_id="first")
            second = asyncio.ensure_future(engine.start("locked", run_id="second"))
            await asyncio.sleep(1)
        with pytest.raises(RunRefused, match="closed while run 'second' waited"):
            await second

    in_virtual_time(main)


@pytest.mark.parametrize("way", WhenHeld)
def test_a_run_that_needs_attention_keeps_its_resources_when_it_is_started_again(way: WhenHeld) -> None:
    """Starting it by its id once more, after a restart, starts nothing and lets nothing go."""
    saga = replace(locked(way), steps=(Step(name="a"), Step(name="b", retry=ONCE)))
    saga = replace(saga, steps=(replace(saga.steps[0], compensation=Compensation(retry=ONCE)), saga.steps[1]))

    async def main() -> None:
        journal = MemoryJournal()
        sagas = [bound(saga, nothing, no, undo=no)]
        async with Engine(journal, sagas) as engine:
            assert (await engine.run("locked", run_id="first")).status is Status.NEEDS_ATTENTION
        async with Engine(journal, sagas) as engine:
            assert (await engine.run("locked", run_id="first")).status is Status.NEEDS_ATTENTION
            other = asyncio.ensure_future(engine.start("locked", run_id="second"))
            await asyncio.wait([other], timeout=5)
            seconds = [type(event) for event in journal.read("second")]
            assert LocksAcquired not in seconds
            assert AttemptStarted not in seconds
            await engine.abandon("first", who="me", why="to end the test")
            await asyncio.wait([other], timeout=5)

    in_virtual_time(main)


def test_a_redriven_run_queues_for_its_resources_whoever_woke_it() -> None:
    """A request that is refused wakes an ended run; the next one re-opens it, and the run goes on."""

    async def main() -> None:
        journal = MemoryJournal()
        refuses = [True]

        def act(call: Call) -> None:
            if refuses[0]:
                no(call)

        async with Engine(journal, [bound(locked(WhenHeld.QUEUE, retry=ONCE), act)]) as engine:
            assert (await engine.run("locked", run_id="r")).status is Status.COMPENSATED
            refuses[0] = False
            asked = [
                engine.retry("r", "a", who="me"),
                engine.redrive("r", who="me"),
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(answer) for answer in answers] == [RunRefused, type(None)]
            assert (await asyncio.wait_for(engine.result("r"), 60)).status is Status.COMPLETED

    in_virtual_time(main)


def state_of(saga: Saga, *events: Event) -> RunState:
    started = RunStarted(
        run_id="r", at=0.0, definition_hash=saga.definition_hash, plan=author_plan(saga), fallback=True
    )
    state = begin(saga, started)
    for event in events:
        fold(state, event)
    return state


def test_two_approvals_that_expire_together_turn_the_run_back_once() -> None:
    """The first refusal turns the run back; the second approval is given up with it, not refused again."""
    steps = tuple(
        Step(name=name, kind=Kind.READ_ONLY, approval=Approval(expires_after_s=4.0)) for name in ("a", "b")
    )
    saga = Saga(name="both", steps=steps, stages=(("a", "b"),))
    state = state_of(saga)
    events = [*advance(state, [], 0.0)[0], *advance(state, [], 4.0)[0]]
    assert sum(isinstance(event, AttemptFailed) for event in events) == 1
    assert state.status is Status.COMPENSATED


def test_a_retry_that_is_due_with_a_refused_approval_is_not_made() -> None:
    """What was owed before an approval was refused is looked at anew: nothing starts forward any more."""
    steps = (
        Step(name="a", kind=Kind.READ_ONLY, approval=Approval(expires_after_s=4.0)),
        Step(name="b", retry=RetryPolicy(initial_interval_s=4.0)),
    )
    state = state_of(Saga(name="both", steps=steps, stages=(("a", "b"),)))
    advance(state, [], 0.0)
    refused = AttemptFailed(at=0.0, step="b", direction=FORWARD, attempt=1, error_type="Down", jitter=1.0)
    advance(state, [refused], 0.0)
    events, launches = advance(state, [], 4.0)
    assert launches == []
    assert not any(isinstance(event, AttemptStarted) for event in events)
    assert state.status is Status.COMPENSATED


def test_an_undo_waits_for_that_of_a_dependant_which_was_sent_off_again() -> None:
    """Undos that a person retries keep the order: what depends on a step is undone before it."""
    undo = Compensation(retry=RetryPolicy(maximum_attempts=1))
    chain = Saga(
        name="chain",
        steps=(Step(name="a", compensation=undo), Step(name="b", after=("a",), compensation=undo)),
    )
    state = state_of(chain)
    advance(state, [], 0.0)
    for step in chain.names:
        advance(state, [_succeeded(step)], 1.0)
    fold(state, OperatorActed(at=2.0, action=Action.UNDO, who="me"))
    advance(state, [], 2.0)
    for step in ("b", "a"):
        refused = AttemptFailed(at=3.0, step=step, direction=UNDO, attempt=1, error_type="No")
        advance(state, [refused], 3.0)
    assert state.status is Status.NEEDS_ATTENTION
    for step in ("b", "a"):
        advance(state, [OperatorActed(at=4.0, action=Action.RETRY, who="me", step=step)], 4.0)
    assert phases(state) == [StepPhase.UNDO_BACKING_OFF, StepPhase.UNDOING]
    advance(state, [replace(_succeeded("b"), direction=UNDO, attempt=2, at=5.0)], 5.0)
    assert phases(state) == [StepPhase.UNDOING, StepPhase.UNDONE]


def test_a_step_in_doubt_that_was_to_run_again_is_not_forgotten() -> None:
    """A redriven run that turns back before it reached such a step says that its effect may stand."""
    saga = Saga(
        name="lasting",
        steps=(
            Step(name="a", idempotent=True, retry=ONCE, compensation=Compensation(retry=ONCE)),
            Step(name="b", kind=Kind.RETRIABLE, idempotent=True, retry=ONCE),
        ),
    )
    state = state_of(saga)
    advance(state, [], 0.0)
    advance(state, [_succeeded("a")], 1.0)
    lost = AttemptUnknown(at=2.0, step="b", direction=FORWARD, attempt=1, reason=UnknownReason.LOST_REPLY)
    advance(state, [lost], 2.0)
    advance(state, [replace(_succeeded("a"), at=3.0, direction=UNDO)], 3.0)
    advance(state, [OperatorActed(at=4.0, action=Action.REDRIVE, who="me")], 4.0)
    refused = AttemptFailed(at=5.0, step="a", direction=FORWARD, attempt=2, error_type="No")
    advance(state, [refused], 5.0)
    assert state.status is Status.NEEDS_ATTENTION
    assert phases(state) == [StepPhase.FAILED, StepPhase.UNCERTAIN]


def test_a_pivot_in_doubt_that_was_to_run_again_keeps_everything_from_being_undone() -> None:
    """A redriven run that is cancelled before its pivot was asked again compensates nothing."""
    saga = Saga(
        name="paid",
        steps=(Step(name="a"), Step(name="pay", kind=Kind.PIVOT, idempotent=True, retry=ONCE)),
    )
    state = state_of(saga)
    advance(state, [], 0.0)
    advance(state, [_succeeded("a")], 1.0)
    lost = AttemptUnknown(at=2.0, step="pay", direction=FORWARD, attempt=1, reason=UnknownReason.LOST_REPLY)
    advance(state, [lost], 2.0)
    fold(state, OperatorActed(at=3.0, action=Action.REDRIVE, who="me"))
    advance(state, [CancelRequested(at=3.0, who="me")], 3.0)
    assert state.status is Status.NEEDS_ATTENTION
    assert phases(state) == [StepPhase.SUCCEEDED, StepPhase.UNCERTAIN]


def test_a_redriven_run_does_not_go_back_to_a_savepoint_after_the_step_that_failed() -> None:
    """A savepoint that was reached before the run was redriven, after the step, cannot help it."""
    back = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
    saga = Saga(
        name="saved",
        steps=(
            Step(name="a", retry=ONCE, on_failure=back, compensation=Compensation(retry=ONCE)),
            Step(name="look", kind=Kind.READ_ONLY, savepoint=True),
            Step(name="b", after=("a",), retry=ONCE),
        ),
    )
    state = state_of(saga)
    advance(state, [], 0.0)
    advance(state, [_succeeded("a")], 1.0)
    advance(state, [_succeeded("look")], 1.0)
    advance(state, [AttemptFailed(at=2.0, step="b", direction=FORWARD, attempt=1, error_type="No")], 2.0)
    advance(state, [replace(_succeeded("a"), at=3.0, direction=UNDO)], 3.0)
    advance(state, [OperatorActed(at=4.0, action=Action.REDRIVE, who="me")], 4.0)
    events, _ = advance(
        state, [AttemptFailed(at=5.0, step="a", direction=FORWARD, attempt=2, error_type="No")], 5.0
    )
    assert not any(isinstance(event, RolledBack) for event in events)
    assert state.status is Status.COMPENSATED


def phases(state: RunState) -> list[StepPhase]:
    return [step.phase for step in state.steps.values()]


def _succeeded(step: str) -> AttemptSucceeded:
    return AttemptSucceeded(at=1.0, step=step, direction=FORWARD, attempt=1)


def test_an_inner_run_is_cancelled_though_it_was_just_beginning() -> None:
    """The outer run turns back while its inner run is being started: the inner one does not run on."""
    inner = Saga(name="inner", steps=(Step(name="x"), Step(name="y")))
    outer = Saga(
        name="outer",
        steps=(Step(name="a", retry=ONCE), Step(name="nested", sub_saga=SubSaga(saga=inner))),
        stages=(("a", "nested"),),
    )

    async def slow(call: Call) -> None:
        await asyncio.sleep(10)

    async def main() -> None:
        journal = MemoryJournal()
        inner_bound = bound(inner, slow)
        whole = bind(outer, {"a": Handler(no, nothing)}, {"nested": inner_bound})
        async with Engine(journal, [whole], max_runs=1) as engine:
            await engine.start("outer", run_id="r")
            await engine.result("r")
            events = journal.read("r/nested/1")
            assert [each.who for each in events if isinstance(each, CancelRequested)] == ["run r"]
            assert "y" not in {each.step for each in events if isinstance(each, AttemptStarted)}

    in_virtual_time(main)
