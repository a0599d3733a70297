"""Machine and plans at their edges: steps that a run does not have, orders that nobody granted."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    ProbeAnswered,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import begin
from sagacity_engine.parts import Compensation, Kind, SagaFreedom
from sagacity_engine.plan import Plan, author_plan, check
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import DOWN, play

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
SAGA = Saga(name="s", steps=(Step(name="a"), Step(name="b")))
UNHEARD_OF: dict[str, Callable[[str], Event]] = {
    **{
        f"{way.value} started": lambda name, way=way: AttemptStarted(
            at=1.0, step=name, direction=way, attempt=1
        )  # type: ignore[misc]  # a default per way
        for way in Direction
    },
    "hedged": lambda name: AttemptHedged(at=1.0, step=name, attempt=1),
    "succeeded": lambda name: AttemptSucceeded(at=1.0, step=name, direction=FORWARD, attempt=1),
    "failed": lambda name: AttemptFailed(at=1.0, step=name, direction=FORWARD, attempt=1, error_type="No"),
    "unknown": lambda name: AttemptUnknown(
        at=1.0, step=name, direction=FORWARD, attempt=1, reason=UnknownReason.LOST_REPLY
    ),
    "answered": lambda name: ProbeAnswered(at=1.0, step=name, attempt=1, answer=Answer.HAPPENED),
}


@pytest.mark.parametrize("what", UNHEARD_OF)
def test_an_event_of_a_step_that_the_run_does_not_have_is_refused(what: str) -> None:
    """A journal of another definition is refused in words, and the state stays as it was."""
    start = RunStarted(run_id="r", at=0.0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA))
    state = begin(SAGA, start)
    before = state.copy()
    with pytest.raises(IllegalEvent, match=r"run 'r'.*'nobody'|'nobody' of run 'r'"):
        machine.fold(state, UNHEARD_OF[what]("nobody"))
    assert state == before


def in_order(saga: Saga, *names: str) -> Plan:
    """The author's plan, with its steps one after the other in this order."""
    author = author_plan(saga)
    steps = [replace(author.by_name[name], after=names[:place][-1:]) for place, name in enumerate(names)]
    return replace(author, steps=tuple(steps))


def side_by_side(saga: Saga) -> Plan:
    author = author_plan(saga)
    return replace(author, steps=tuple(replace(step, after=()) for step in author.steps))


def test_turning_steps_round_and_starting_them_together_are_two_freedoms() -> None:
    """Each is refused without its own freedom, allowed with it, and the other does not stand in for it."""
    turned = "steps 'a' and 'b' are turned round without the freedom 'reorder'"
    joined = "steps 'a' and 'b' are joined or separated without the freedom 'parallel'"
    for reorder in (False, True):
        for parallel in (False, True):
            saga = replace(SAGA, freedom=SagaFreedom(reorder=reorder, parallel=parallel))
            assert check(in_order(saga, "b", "a"), saga) == (() if reorder else (turned,))
            assert check(side_by_side(saga), saga) == (() if parallel else (joined,))
            assert check(author_plan(saga), saga) == ()


def test_a_step_before_the_savepoint_does_not_stop_the_return() -> None:
    """Going back takes only what came after the savepoint; what came before it may stand."""
    saga = Saga(
        name="trip",
        steps=(
            Step(name="note", kind=Kind.RETRIABLE),
            Step(name="safe", savepoint=True),
            Step(name="hotel", compensation=Compensation(retry=RetryPolicy(maximum_attempts=1))),
            Step(
                name="car",
                retry=RetryPolicy(maximum_attempts=1),
                on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT),
            ),
        ),
    )
    trial = play(saga, {("car", FORWARD): [DOWN], ("hotel", UNDO): [DOWN]}).sound()
    assert trial.ended == (Status.NEEDS_ATTENTION, "hotel")
    assert trial.started(UNDO) == ["hotel"]
