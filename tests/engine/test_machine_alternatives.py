"""Forward recovery: a step that was given up is replaced by its alternative."""

from dataclasses import replace
from typing import Any

from sagacity_engine.events import Direction, Status
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import DOWN, LOST, REFUSED, Trial, play
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
ONCE = RetryPolicy(maximum_attempts=1)


def saga(**fields: Any) -> Saga:
    """Fly, or else take the bus; then pay. `fields` are those of the flight."""
    return Saga(
        name="trip",
        steps=(
            Step(name="fly", retry=ONCE, **fields),
            Step(name="bus", alternative_to="fly", retry=ONCE),
            Step(name="stay", after=("fly",)),
            Step(name="pay", kind=Kind.PIVOT),
        ),
    )


def told(definition: Saga, script: dict[tuple[str, Direction], list[Reply]]) -> Trial:
    return play(definition, script).sound()


def test_an_alternative_sleeps_while_its_step_succeeds() -> None:
    """Nobody calls the alternative of a step that went well, and the run is complete without it."""
    trial = told(saga(), {})
    assert trial.started() == ["fly", "stay", "pay"]
    assert (trial.ended, trial.phase("bus")) == ((Status.COMPLETED, ""), StepPhase.PENDING)


def test_a_refused_step_is_replaced_by_its_alternative() -> None:
    """The alternative runs once the step is given up, before anything that needs the step."""
    trial = told(saga(), {("fly", FORWARD): [REFUSED]})
    assert trial.started() == ["fly", "bus", "stay", "pay"]
    assert (trial.ended, trial.phase("fly")) == ((Status.COMPLETED, ""), StepPhase.FAILED)


def test_the_alternatives_output_becomes_the_steps() -> None:
    """Whoever refers to the step's output reads that of the alternative."""
    bus = Reply(duration_s=1, output={"seat": 7})
    trial = told(saga(), {("fly", FORWARD): [REFUSED], ("bus", FORWARD): [bus]})
    assert trial.state.outputs["fly"] == trial.state.outputs["bus"] == {"seat": 7}


def test_an_uncertain_step_is_undone_before_its_alternative_starts() -> None:
    """Two effects never stand side by side: the uncertain one is taken back first."""
    trial = told(saga(), {("fly", FORWARD): [LOST], ("fly", UNDO): [DOWN, Reply(duration_s=3)]})
    assert trial.started(UNDO) == ["fly", "fly"]
    assert trial.started() == ["fly", "bus", "stay", "pay"]
    assert (trial.ended, trial.phase("fly")) == ((Status.COMPLETED, ""), StepPhase.UNDONE)


def test_an_uncertain_step_whose_undo_fails_is_seen_to_at_the_end() -> None:
    """The run goes on with the alternative, and its end names the effect that may be left."""
    trial = told(
        saga(compensation=Compensation(retry=ONCE)), {("fly", FORWARD): [LOST], ("fly", UNDO): [DOWN]}
    )
    assert trial.ended == (Status.NEEDS_ATTENTION, "fly")
    assert trial.phase("pay") is StepPhase.SUCCEEDED


def test_a_failing_alternative_turns_the_run_back() -> None:
    """When the alternative is refused too, nothing of either is left and the rest is undone."""
    trial = told(saga(), {("fly", FORWARD): [LOST], ("bus", FORWARD): [LOST]})
    assert trial.ended == (Status.COMPENSATED, "bus")
    assert trial.started(UNDO) == ["fly", "bus"]


def test_an_alternative_that_ran_is_undone_when_the_run_turns_back() -> None:
    """What the alternative did is taken back like any other step's effect, and its step's is not."""
    trial = told(saga(), {("fly", FORWARD): [REFUSED], ("pay", FORWARD): [REFUSED]})
    assert trial.ended == (Status.COMPENSATED, "pay")
    assert trial.started(UNDO) == ["stay", "bus"]


def test_an_alternative_follows_the_pivot_too() -> None:
    """After the pivot an alternative is the way forward; taking its step back is no turning back."""
    definition = Saga(
        name="mail",
        steps=(
            Step(name="pay", kind=Kind.PIVOT),
            Step(name="mail", kind=Kind.RETRIABLE, after=("pay",), retry=ONCE, compensation=Compensation()),
            Step(name="post", kind=Kind.RETRIABLE, alternative_to="mail"),
        ),
    )
    trial = told(definition, {("mail", FORWARD): [LOST]})
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPLETED, ""), ["mail"])
    assert trial.phase("post") is StepPhase.SUCCEEDED


def test_the_strategy_of_the_class_decides() -> None:
    """A class of failure for which the author chose otherwise does turn the run back."""
    definition = saga(on_failure=OnFailure(unknown=Strategy.FORWARD_RECOVERY))
    assert told(definition, {("fly", FORWARD): [DOWN]}).ended == (Status.COMPENSATED, "fly")
    unclassed = replace(DOWN, failure_class=Reply(duration_s=1).failure_class)
    assert told(definition, {("fly", FORWARD): [unclassed]}).ended == (Status.COMPLETED, "")
