"""Probes: an unknown outcome is asked about before anything is concluded from it."""

from typing import Any

import pytest

from sagacity_engine.events import Answer, AttemptStarted, CancelRequested, Direction, Status
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.parts import Kind, Probe
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnTimeout
from sagacity_engine.testing import CANNOT_TELL, DOWN, LATE, LOST, SUCCESS, play
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
THRICE = Probe(retry=RetryPolicy(maximum_attempts=3))
HAPPENED = Reply(duration_s=1, answer=Answer.HAPPENED, output={"id": 7})
DID_NOT = Reply(duration_s=1, answer=Answer.DID_NOT_HAPPEN)


def saga(kind: Kind = Kind.COMPENSATABLE, **fields: Any) -> Saga:
    return Saga(name="probed", steps=(Step(name="a", kind=kind, probe=THRICE, **fields),))


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.PIVOT])
def test_an_effect_that_is_there_counts_as_success(kind: Kind) -> None:
    """The probe finds the effect: the step succeeded, with the output that the probe brought."""
    trial = play(saga(kind), {("a", FORWARD): [LOST], ("a", PROBE): [HAPPENED]}).sound()
    assert (trial.ended, trial.started(), trial.started(PROBE)) == ((Status.COMPLETED, ""), ["a"], ["a"])
    assert trial.state.outputs["a"] == {"id": 7}


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.PIVOT])
def test_an_effect_that_is_not_there_is_tried_again(kind: Kind) -> None:
    """Once it is known that nothing happened, even a step that is not idempotent may be repeated."""
    script = {("a", FORWARD): [LOST, SUCCESS], ("a", PROBE): [DID_NOT]}
    trial = play(saga(kind), script, acts=lambda *_: False).sound()
    assert (trial.ended, trial.started()) == ((Status.COMPLETED, ""), ["a", "a"])


def test_an_effect_that_is_not_there_is_not_undone() -> None:
    """A step that never happened, and may not be tried again, leaves nothing to take back."""
    definition = saga(retry=RetryPolicy(maximum_attempts=1))
    trial = play(definition, {("a", FORWARD): [LATE]}, acts=lambda *_: False).sound()
    assert (trial.ended, trial.phase("a")) == ((Status.COMPENSATED, "a"), StepPhase.FAILED)
    assert trial.started(UNDO) == []


def test_a_pivot_that_did_not_happen_turns_the_run_back() -> None:
    """A refused pivot is no doubt any more: what came before it is undone."""
    pay = Step(name="pay", kind=Kind.PIVOT, probe=THRICE, retry=RetryPolicy(maximum_attempts=1))
    definition = Saga(name="probed", steps=(Step(name="a"), pay))
    trial = play(definition, {("pay", FORWARD): [LOST]}, acts=lambda *_: False).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["a"])


def test_a_probe_that_cannot_tell_is_asked_again_and_then_given_up() -> None:
    """The probe's attempts are used up with its own backoff; then the step is what it was: unknown."""
    trial = play(saga(), {("a", FORWARD): [LOST], ("a", PROBE): [CANNOT_TELL, DOWN, LATE]}).sound()
    probes = [
        event.at
        for event in trial.events["run"]
        if isinstance(event, AttemptStarted) and event.direction is PROBE
    ]
    assert [at - probes[0] for at in probes] == [0.0, 1.5, 3.5]
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "a"), ["a"])


def test_a_pivot_that_no_probe_can_tell_needs_a_person() -> None:
    """When the probes are used up and the pivot is not idempotent, nobody concludes anything."""
    trial = play(saga(Kind.PIVOT), {("a", FORWARD): [LOST], ("a", PROBE): [CANNOT_TELL]}).sound()
    assert (trial.ended, len(trial.started(PROBE))) == ((Status.NEEDS_ATTENTION, "a"), 3)


def test_an_idempotent_step_that_no_probe_can_tell_is_repeated() -> None:
    """After the probes its own key makes another attempt safe, and that one is asked about too."""
    script = {("a", FORWARD): [LOST, LOST, SUCCESS], ("a", PROBE): [CANNOT_TELL]}
    trial = play(saga(idempotent=True), script).sound()
    assert (trial.ended, len(trial.started()), len(trial.started(PROBE))) == ((Status.COMPLETED, ""), 3, 4)
    assert len(trial.ledger["run"]) == 1


def test_a_run_that_turns_back_does_not_ask_what_it_will_undo_anyway() -> None:
    """Cancelled while the outcome is unknown: the compensation runs at once, without a probe."""
    cancel = CancelRequested(at=0, who="Asha")
    trial = play(saga(), {("a", FORWARD): [LATE]}, wishes=[(5.0, cancel)]).sound()
    assert (trial.started(PROBE), trial.started(UNDO)) == ([], ["a"])
    waiting = {("a", FORWARD): [LOST], ("a", PROBE): [CANNOT_TELL]}
    trial = play(saga(), waiting, wishes=[(2.2, cancel)]).sound()
    assert (trial.started(PROBE), trial.started(UNDO)) == (["a"], ["a"])


def test_a_run_that_turns_back_still_asks_about_its_pivot() -> None:
    """Only the probe can settle a pivot in doubt; if it took effect, the run goes forward after all."""
    cancel = CancelRequested(at=0, who="Asha")
    script = {("a", FORWARD): [LATE], ("a", PROBE): [CANNOT_TELL, HAPPENED]}
    trial = play(saga(Kind.PIVOT), script, wishes=[(5.0, cancel)]).sound()
    assert (trial.ended, len(trial.started(PROBE))) == ((Status.COMPLETED, ""), 2)


def test_the_probe_comes_before_what_the_timeout_leads_to() -> None:
    """on_timeout decides only about what a probe could not find out."""
    definition = saga(on_timeout=OnTimeout.COMPENSATE)
    trial = play(definition, {("a", FORWARD): [LATE], ("a", PROBE): [HAPPENED]}).sound()
    assert trial.ended == (Status.COMPLETED, "")
