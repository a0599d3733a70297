"""Approvals: a step that waits, durably, until somebody says yes or no, or its time is over."""

from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine.events import (
    Action,
    AttemptSucceeded,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.parts import Approval, Kind, OnExpiry
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import DOWN, SUCCESS, Trial, play

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


def saga(**fields: Any) -> Saga:
    """Book, ask the boss, pay. `fields` are those of the approval."""
    return Saga(
        name="trip",
        steps=(
            Step(name="book"),
            Step(name="boss", kind=Kind.READ_ONLY, approval=Approval(signal="ok", **fields)),
            Step(name="pay", kind=Kind.PIVOT),
        ),
    )


def signal(*, approve: bool = True) -> SignalReceived:
    return SignalReceived(at=0, name="ok", approve=approve, who="Asha", payload={"limit": 9})


def told(definition: Saga, *wishes: tuple[float, Event]) -> Trial:
    return play(definition, {}, wishes=wishes)


def test_an_approval_lets_the_run_go_on() -> None:
    """Nothing happens until somebody says yes; who said it, and with what, is the step's output."""
    trial = told(saga(), (500.0, signal())).sound()
    assert (trial.ended, trial.times(AttemptSucceeded, "boss")) == ((Status.COMPLETED, ""), [500.0])
    assert trial.state.outputs["boss"] == {
        "approved": True,
        "expired": False,
        "who": "Asha",
        "payload": {"limit": 9},
    }


def test_a_run_waits_for_its_approval_for_ever() -> None:
    """Without an expiry the run stands still, open, and calls nobody."""
    trial = told(saga())
    assert trial.violations() == ("run: I1 the run has not ended",)
    assert (trial.phase("boss"), trial.ended) == (StepPhase.AWAITING, (Status.RUNNING, ""))


def test_a_refusal_turns_the_run_back() -> None:
    """A no is a final refusal of the step, without retries."""
    trial = told(saga(), (9.0, signal(approve=False))).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "boss"), ["book"])
    assert trial.state.ended is not None
    assert "rejected by Asha" in trial.state.ended.reason
    assert trial.started().count("boss") == 1


@pytest.mark.parametrize(
    ("on_expiry", "status"), [(OnExpiry.APPROVE, Status.COMPLETED), (OnExpiry.REJECT, Status.COMPENSATED)]
)
def test_an_approval_that_nobody_gave_in_time(on_expiry: OnExpiry, status: Status) -> None:
    """Its author says whether silence means yes or no."""
    trial = told(saga(expires_after_s=60.0, on_expiry=on_expiry)).sound()
    assert trial.ended[0] is status
    late = told(saga(expires_after_s=60.0, on_expiry=on_expiry), (61.5, signal())).sound()
    assert late.events == trial.events


def test_a_signal_may_come_before_it_is_asked_for() -> None:
    """An early yes is kept, and the step does not wait at all."""
    trial = told(saga(), (0.5, signal())).sound()
    assert trial.times(AttemptSucceeded, "boss") == [1.0]


def test_an_optional_approval_that_is_refused_is_left_out() -> None:
    """The run goes on without it."""
    definition = saga()
    definition = replace(
        definition,
        steps=(definition.steps[0], replace(definition.steps[1], optional=True), definition.steps[2]),
    )
    trial = told(definition, (9.0, signal(approve=False))).sound()
    assert (trial.ended, trial.phase("boss")) == ((Status.COMPLETED, ""), StepPhase.SKIPPED)


def test_a_run_that_turns_back_waits_no_more() -> None:
    """A cancellation ends the wait, and undoes what was done before it."""
    trial = told(saga(), (9.0, CancelRequested(at=0, who="Asha"))).sound()
    assert (trial.ended, trial.phase("boss"), trial.started(UNDO)) == (
        (Status.COMPENSATED, ""),
        StepPhase.FAILED,
        ["book"],
    )


def test_an_approval_that_is_asked_for_again_needs_a_new_answer() -> None:
    """A run that is redriven asks anew: the refusal of the last time answers nothing."""
    redrive = OperatorActed(at=0, action=Action.REDRIVE, who="Asha", why="the boss is back")
    refused = (9.0, signal(approve=False))
    trial = told(saga(), refused, (20.0, redrive))
    assert trial.phase("boss") is StepPhase.AWAITING
    trial = told(saga(), refused, (20.0, redrive), (30.0, signal())).sound()
    assert trial.ended == (Status.COMPLETED, "")


def test_an_approval_after_the_pivot_may_be_asked_for_again() -> None:
    """A refusal after the pivot needs a person, who may ask once more."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="pay", kind=Kind.PIVOT),
            Step(name="boss", kind=Kind.RETRIABLE, approval=Approval(signal="ok")),
        ),
    )
    refused = (9.0, signal(approve=False))
    assert told(definition, refused).sound().ended == (Status.NEEDS_ATTENTION, "boss")
    retry = OperatorActed(at=0, action=Action.RETRY, who="Asha", why="ask again", step="boss")
    trial = told(definition, refused, (20.0, retry), (30.0, signal())).sound()
    assert trial.ended == (Status.COMPLETED, "")


def test_an_approval_after_a_savepoint_is_asked_for_again() -> None:
    """Going back to a savepoint undoes what was approved, so it is to be approved anew."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="book", savepoint=True),
            Step(name="boss", kind=Kind.READ_ONLY, approval=Approval(signal="ok")),
            Step(name="car", on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)),
        ),
    )
    script = {("car", FORWARD): [DOWN, DOWN, DOWN, SUCCESS]}
    trial = play(definition, script, wishes=[(2.0, signal())])
    assert trial.phase("boss") is StepPhase.AWAITING
    trial = play(definition, script, wishes=[(2.0, signal()), (60.0, signal())]).sound()
    assert (trial.ended, trial.started().count("boss")) == ((Status.COMPLETED, ""), 2)


def test_approvals_that_expire_together_turn_the_run_back_once() -> None:
    """The first refusal ends the wait for the second, and starts nothing more that was due with it."""
    approval = Approval(expires_after_s=4.0)
    definition = Saga(
        name="trip",
        steps=(
            Step(name="boss", kind=Kind.READ_ONLY, approval=approval),
            Step(name="clerk", kind=Kind.READ_ONLY, approval=approval),
            Step(name="book", retry=RetryPolicy(initial_interval_s=6.0)),
        ),
        stages=(("boss", "clerk", "book"),),
    )
    # The wait for the second attempt at the booking, half of 6 s, is over in the same moment.
    trial = play(definition, {("book", FORWARD): [DOWN, SUCCESS]}).sound()
    assert (trial.ended, trial.phase("clerk")) == ((Status.COMPENSATED, "boss"), StepPhase.FAILED)
    assert trial.started() == ["boss", "clerk", "book"]
