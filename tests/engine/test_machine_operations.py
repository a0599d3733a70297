"""What people may do to a run: each action where it helps, and the sentence that refuses it elsewhere."""

from dataclasses import replace

import pytest

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Action,
    CancelRequested,
    DeadlineReached,
    Direction,
    OperatorActed,
    RunStarted,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.machine import advance
from sagacity_engine.machine.operations import next_actions, refusal
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.parts import Approval, Compensation, Kind, LaunchFreedom, Probe, SagaFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import (
    CANNOT_TELL,
    DOWN,
    LATE,
    LOST,
    REFUSED,
    SUCCESS,
    Trial,
    Wish,
    play,
)
from sagacity_engine.testing.services import Scripted
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
ONCE = RetryPolicy(maximum_attempts=1)
FRAGILE = Compensation(retry=ONCE)
TRIP = Saga(
    name="trip",
    steps=(
        Step(name="fly", compensation=FRAGILE),
        Step(name="pay", kind=Kind.PIVOT, retry=ONCE),
        Step(name="mail", kind=Kind.RETRIABLE, retry=ONCE),
    ),
)
Script = dict[tuple[str, Direction], list[Scripted]]


def act(action: Action, step: str = "", output: object = None) -> OperatorActed:
    return OperatorActed(at=0, action=action, who="Asha", why="saw to it", step=step, output=output)


def told(script: Script, *wishes: Wish, saga: Saga = TRIP) -> Trial:
    return play(saga, script, wishes=wishes).sound()


def why_not(trial: Trial, action: Action, step: str = "") -> str:
    return refusal(trial.state, act(action, step))


def test_a_failed_step_after_the_pivot_is_retried() -> None:
    """RETRY gives it all its attempts again, and the run goes on to its end."""
    trial = told({("mail", FORWARD): [DOWN, SUCCESS]}, (60.0, act(Action.RETRY, "mail")))
    assert (trial.ended, trial.started().count("mail")) == ((Status.COMPLETED, ""), 2)


def test_a_failed_step_after_the_pivot_is_skipped() -> None:
    """SKIP goes on as if it had succeeded, with the output that the person gives."""
    trial = told({("mail", FORWARD): [DOWN]}, (60.0, act(Action.SKIP, "mail", {"sent": "by hand"})))
    assert (trial.ended, trial.phase("mail")) == ((Status.COMPLETED, ""), StepPhase.SKIPPED)
    assert trial.state.outputs["mail"] == {"sent": "by hand"}


def test_a_failed_undo_is_retried() -> None:
    """RETRY of a failed compensation gives it its attempts again; then the run is compensated."""
    script: Script = {("pay", FORWARD): [REFUSED], ("fly", UNDO): [DOWN, SUCCESS]}
    trial = told(script, (60.0, act(Action.RETRY, "fly")))
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["fly", "fly"])


def test_a_failed_undo_is_resolved() -> None:
    """RESOLVE says that the effect is gone by other means."""
    script: Script = {("pay", FORWARD): [REFUSED], ("fly", UNDO): [DOWN]}
    trial = told(script, (60.0, act(Action.RESOLVE, "fly")))
    assert (trial.ended, trial.phase("fly")) == ((Status.COMPENSATED, "pay"), StepPhase.UNDONE)


def test_a_run_is_given_up_with_who_and_why() -> None:
    """ABANDON ends the run as it stands, whatever may be left, and its end says who and why."""
    script: Script = {("pay", FORWARD): [REFUSED], ("fly", UNDO): [DOWN]}
    trial = told(script, (60.0, act(Action.ABANDON, "fly")))
    assert trial.ended == (Status.ABANDONED, "fly")
    assert trial.state.ended is not None
    assert trial.state.ended.reason == "abandoned by Asha: saw to it"


def test_a_run_in_full_swing_is_given_up_once_its_calls_have_ended() -> None:
    """Nothing is started any more, and what is in flight is waited for."""
    trial = told({("fly", FORWARD): [Reply(duration_s=7)]}, (2.0, act(Action.ABANDON)))
    assert (trial.ended[0], trial.started()) == (Status.ABANDONED, ["fly"])
    assert trial.state.ended is not None
    assert trial.state.ended.at - trial.state.started.at == 7.0


def test_a_pivot_in_doubt_is_settled_either_way() -> None:
    """SKIP says that it took effect, RESOLVE that it did not, RETRY asks it again."""
    script: Script = {("pay", FORWARD): [LOST, SUCCESS]}
    trial = told(script, (60.0, act(Action.SKIP, "pay")))
    assert (trial.ended, trial.phase("pay"), trial.started(UNDO)) == (
        (Status.COMPLETED, ""),
        StepPhase.SUCCEEDED,
        [],
    )
    trial = told(script, (60.0, act(Action.RESOLVE, "pay")))
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["fly"])
    trial = told(script, (60.0, act(Action.RETRY, "pay")))
    assert (trial.ended, trial.started().count("pay")) == ((Status.COMPLETED, ""), 2)


def test_a_retried_step_has_all_its_probes_again() -> None:
    """Fresh attempts bring fresh probes with them."""
    pay = Step(name="pay", kind=Kind.PIVOT, retry=ONCE, probe=Probe(retry=RetryPolicy(maximum_attempts=2)))
    script: Script = {("pay", FORWARD): [LOST], ("pay", PROBE): [CANNOT_TELL]}
    trial = told(script, (60.0, act(Action.RETRY, "pay")), saga=Saga(name="p", steps=(pay,)))
    assert (trial.started(PROBE), trial.ended[0]) == (["pay"] * 4, Status.NEEDS_ATTENTION)


def test_a_step_that_waits_may_be_hurried() -> None:
    """RETRY of a step that backs off starts the next attempt at once, with all attempts before it."""
    busy = Reply(duration_s=1, error_type="Busy", retry_after_s=500.0)
    trial = told({("fly", FORWARD): [busy, DOWN, DOWN, SUCCESS]}, (5.0, act(Action.RETRY, "fly")))
    assert (trial.ended[0], trial.started().count("fly")) == (Status.COMPLETED, 4)
    assert trial.state.ended is not None
    assert trial.state.ended.at - trial.state.started.at < 60


def test_a_skipped_step_whose_effect_may_exist_is_undone_with_the_others() -> None:
    """Going on as if it had succeeded means that it counts as done when the run turns back later."""
    busy = Reply(duration_s=1, lost=True)
    definition = Saga(
        name="trip",
        steps=(
            Step(name="fly", idempotent=True, retry=RetryPolicy(initial_interval_s=30.0)),
            Step(name="pay", kind=Kind.PIVOT),
        ),
    )
    script: Script = {("fly", FORWARD): [busy], ("pay", FORWARD): [REFUSED]}
    trial = told(script, (5.0, act(Action.SKIP, "fly")), saga=definition)
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["fly"])
    refused: Script = {("fly", FORWARD): [DOWN], ("pay", FORWARD): [REFUSED]}
    trial = told(refused, (5.0, act(Action.SKIP, "fly")), saga=definition)
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), [])


def test_a_step_may_be_skipped_before_it_starts() -> None:
    """Nobody calls it, and what needs it goes on with the output that the person gave."""
    trial = told({}, (0.5, act(Action.SKIP, "mail")))
    assert (trial.ended, trial.started()) == ((Status.COMPLETED, ""), ["fly", "pay"])


def test_a_skipped_step_does_not_hold_up_the_undos_of_what_stood_before_it() -> None:
    """What follows a skipped step may start before what the skipped one needed; all of it is undone."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="log-in"),
            Step(name="ask", after=("log-in",)),
            Step(name="book", after=("ask",)),
            Step(name="tour", after=("book",)),
            Step(name="visa", after=("ask", "tour"), retry=ONCE),
        ),
        freedom=SagaFreedom(parallel=True, launch=LaunchFreedom(wait_s_max=9.0)),
    )
    author = author_plan(definition)
    steps = tuple(replace(step, after=tuple(sorted(definition.arcs[step.name]))) for step in author.steps)
    plan = replace(author, steps=steps, launch_delay_s=3.0)
    skip = (1.0, act(Action.SKIP, "book"))
    trial = play(definition, {("visa", FORWARD): [DOWN]}, plan, wishes=[skip]).sound()
    assert trial.started() == ["log-in", "tour", "ask", "visa"]
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "visa"), ["tour", "ask", "log-in"])


def test_a_skipped_alternative_stands_in_for_its_step() -> None:
    """The output that the person gives for the alternative is the one that others refer to."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="pay", kind=Kind.PIVOT),
            Step(name="mail", kind=Kind.RETRIABLE, after=("pay",), retry=ONCE),
            Step(name="post", kind=Kind.RETRIABLE, alternative_to="mail", retry=ONCE),
        ),
    )
    script: Script = {("mail", FORWARD): [DOWN], ("post", FORWARD): [DOWN]}
    trial = told(script, saga=definition)
    assert trial.ended == (Status.NEEDS_ATTENTION, "post")
    for action in (Action.RETRY, Action.SKIP):
        assert why_not(trial, action, "mail") == "step 'post' runs in its place; act on that one instead"
    trial = told(script, (60.0, act(Action.SKIP, "post", "by hand")), saga=definition)
    assert (trial.ended[0], trial.state.outputs) == (
        Status.COMPLETED,
        {"pay": None, "post": "by hand", "mail": "by hand"},
    )


def test_a_compensated_run_is_redriven() -> None:
    """It goes forward again from the beginning, under new keys, with fresh attempts and a fresh deadline."""
    definition = Saga(name="trip", steps=TRIP.steps, deadline_s=50.0)
    script: Script = {("pay", FORWARD): [REFUSED, SUCCESS]}
    trial = told(script, (45.0, act(Action.REDRIVE)), saga=definition)
    assert (trial.ended, trial.started()) == (
        (Status.COMPLETED, ""),
        ["fly", "pay", "fly", "pay", "mail"],
    )
    assert trial.times(DeadlineReached) == []
    keys = {each.key for each in trial.ledger["run"] if (each.step, each.direction) == ("fly", FORWARD)}
    assert len(keys) == 2


def test_a_run_after_its_pivot_is_redriven_from_the_failed_step() -> None:
    """Only what is not done runs again; optional steps that were left out stay left out."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="fly"),
            Step(name="lounge", optional=True),
            Step(name="pay", kind=Kind.PIVOT),
            Step(name="mail", kind=Kind.RETRIABLE, retry=ONCE),
        ),
    )
    script: Script = {("lounge", FORWARD): [LOST], ("mail", FORWARD): [DOWN, SUCCESS]}
    trial = told(script, (60.0, act(Action.REDRIVE, "mail")), saga=definition)
    assert (trial.ended, trial.started()) == (
        (Status.COMPLETED, ""),
        ["fly", "lounge", "pay", "mail", "mail"],
    )


def test_a_completed_run_is_taken_back() -> None:
    """UNDO undoes what a run without a pivot did; what has no compensation needs a person then."""
    definition = Saga(name="trip", steps=(Step(name="fly"), Step(name="stay", after=("fly",))))
    trial = told({}, (60.0, act(Action.UNDO)), saga=definition)
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, ""), ["stay", "fly"])
    noted = Saga(name="trip", steps=(Step(name="note", kind=Kind.RETRIABLE),))
    trial = told({}, (60.0, act(Action.UNDO)), saga=noted)
    assert trial.ended == (Status.NEEDS_ATTENTION, "note")
    trial = told({}, (60.0, act(Action.UNDO)), (70.0, act(Action.RESOLVE, "note")), saga=noted)
    assert trial.ended == (Status.COMPENSATED, "")


def test_a_refused_pivot_is_never_revived_once_the_run_turned_back() -> None:
    """While compensations run, or failed, nobody may pretend that the pivot succeeded or try it again."""
    trial = told({("pay", FORWARD): [REFUSED], ("fly", UNDO): [DOWN]})
    assert why_not(trial, Action.RETRY, "pay").startswith("the run has turned back; redrive it")
    assert why_not(trial, Action.SKIP, "pay").startswith("the run has turned back and needs nothing skipped")
    assert why_not(trial, Action.SKIP, "mail").startswith("the run has turned back and needs nothing skipped")


def test_a_pivot_that_succeeded_is_not_resolved_away() -> None:
    """After the pivot nothing is taken back, not by a person's word either."""
    trial = told({("mail", FORWARD): [DOWN]})
    assert why_not(trial, Action.RESOLVE, "pay") == "the run goes forward; retry or skip the step instead"
    assert why_not(trial, Action.RESOLVE, "fly") == "the run goes forward; retry or skip the step instead"


def test_a_step_resolved_before_the_pivot_won_is_not_done() -> None:
    """A step whose effect is gone although the run goes forward after all is for a person to see to."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="beside", kind=Kind.RETRIABLE, idempotent=True, compensation=FRAGILE),
            Step(name="pay", kind=Kind.PIVOT),
        ),
        stages=(("beside", "pay"),),
    )
    script: Script = {("beside", FORWARD): [LOST], ("pay", FORWARD): [Reply(duration_s=9)]}
    cancel = CancelRequested(at=0, who="Asha")
    trial = told(script, (1.2, cancel), (2.0, act(Action.RESOLVE, "beside")), saga=definition)
    assert (trial.ended, trial.phase("pay")) == ((Status.NEEDS_ATTENTION, "beside"), StepPhase.SUCCEEDED)
    assert trial.state.ended is not None
    assert trial.state.ended.reason.startswith("given up before the pivot succeeded")


def test_steps_are_left_alone_while_the_run_goes_back_to_a_savepoint() -> None:
    """What will be begun anew anyway is neither retried nor skipped meanwhile."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="save", savepoint=True),
            Step(name="hotel", compensation=FRAGILE),
            Step(name="car", retry=ONCE, on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)),
        ),
    )
    trial = told({("car", FORWARD): [DOWN], ("hotel", UNDO): [DOWN]}, saga=definition)
    assert trial.ended == (Status.NEEDS_ATTENTION, "hotel")
    assert why_not(trial, Action.RETRY, "car").startswith("the run has turned back; redrive it")
    assert why_not(trial, Action.SKIP, "car").startswith("the run has turned back and needs nothing skipped")
    assert why_not(trial, Action.RETRY, "hotel") == ""


ATTENDED: Script = {("mail", FORWARD): [DOWN]}
STUCK: Script = {("pay", FORWARD): [REFUSED], ("fly", UNDO): [DOWN]}


@pytest.mark.parametrize(
    ("script", "action", "step", "words"),
    [
        ({}, Action.PAUSE, "", "it has ended: COMPLETED"),
        ({}, Action.RESUME, "", "it has ended: COMPLETED"),
        ({}, Action.ABANDON, "", "it has ended: COMPLETED"),
        ({}, Action.RETRY, "mail", "it has ended: COMPLETED"),
        ({}, Action.UNDO, "", "its pivot has succeeded; what follows a pivot is never taken back"),
        ({}, Action.REDRIVE, "", "only a run that needs attention, or was compensated, is redriven"),
        (ATTENDED, Action.UNDO, "", "it has not completed; only a completed run is taken back"),
        (ATTENDED, Action.RETRY, "train", "it has no step 'train'; the steps are fly, pay, mail"),
        (ATTENDED, Action.REDRIVE, "train", "it has no step 'train'; the steps are fly, pay, mail"),
        (ATTENDED, Action.REDRIVE, "fly", "step 'fly' is succeeded; it need not run again"),
        (ATTENDED, Action.RETRY, "fly", "step 'fly' is succeeded; retry cannot be done to it"),
        (STUCK, Action.REDRIVE, "", "the compensation of step 'fly' failed; retry or resolve it first"),
        (STUCK, Action.RETRY, "mail", "step 'mail' is pending; retry cannot be done to it"),
        ({("pay", FORWARD): [LOST]}, Action.REDRIVE, "", "whether step 'pay' took effect is unknown"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    script: Script, action: Action, step: str, words: str
) -> None:
    """The sentence says what stands in the way, and a refused action changes nothing."""
    trial = told(script)
    assert words in why_not(trial, action, step)
    assert told(script, (60.0, act(action, step))).events == trial.events


def test_a_redrive_names_what_must_run_first() -> None:
    """A step is not redriven before what it needs."""
    trial = told({("pay", FORWARD): [REFUSED]})
    assert why_not(trial, Action.REDRIVE, "pay") == (
        "step 'fly' must run again before 'pay'; redrive from 'fly'"
    )
    assert why_not(trial, Action.REDRIVE, "fly") == why_not(trial, Action.REDRIVE) == ""


def test_a_run_that_began_nothing_has_nothing_to_redrive() -> None:
    """Cancelled before its first step, it is compensated, and no step of it would run again."""
    saga = Saga(name="ask", steps=(Step(name="boss", kind=Kind.READ_ONLY, approval=Approval()),))
    started = RunStarted(run_id="r", at=0, definition_hash=saga.definition_hash, plan=author_plan(saga))
    state = begin(saga, started)
    advance(state, [CancelRequested(at=0, who="Asha")], 0)
    assert state.status is Status.COMPENSATED
    assert refusal(state, act(Action.REDRIVE)) == "no step of it would run again"


def running(saga: Saga = TRIP) -> RunState:
    started = RunStarted(run_id="r", at=0, definition_hash=saga.definition_hash, plan=author_plan(saga))
    state = begin(saga, started)
    advance(state, [], 0)
    return state


def test_pausing_is_refused_where_it_says_nothing() -> None:
    """A paused run is not paused again, and one that goes on is not resumed."""
    state = running()
    assert refusal(state, act(Action.RESUME)) == "it is not paused; there is nothing to resume"
    advance(state, [act(Action.PAUSE)], 0)
    assert refusal(state, act(Action.PAUSE)) == "it is paused already"
    assert refusal(state, act(Action.RESUME)) == ""


def test_signals_are_refused_where_nobody_waits() -> None:
    """A signal of another name, one given already, and one for a step that is over are refused in words."""
    saga = Saga(
        name="ask", steps=(Step(name="boss", kind=Kind.READ_ONLY, approval=Approval()), Step(name="fly"))
    )
    yes = SignalReceived(at=0, name="boss")
    assert refusal(running(), yes) == "no step waits for signal 'boss'; the signals of this saga are none"
    early = begin(
        saga, RunStarted(run_id="r", at=0, definition_hash=saga.definition_hash, plan=author_plan(saga))
    )
    assert refusal(early, yes) == ""
    state = running(saga)
    other = SignalReceived(at=0, name="chief")
    assert refusal(state, other) == "no step waits for signal 'chief'; the signals of this saga are boss"
    advance(state, [yes], 0)
    assert refusal(state, yes) == "signal 'boss' has been given already"
    advance(state, [act(Action.SKIP, "fly")] if state.steps["fly"].phase is StepPhase.PENDING else [], 0)
    state.signals = {}
    assert refusal(state, yes) == "step 'boss' no longer waits for signal 'boss': it is succeeded"


def test_only_wishes_may_be_asked_for() -> None:
    """What merely happens to a run is nothing that anybody can ask for."""
    words = refusal(running(), DeadlineReached(at=0))
    assert words == "DeadlineReached is nothing that anybody may ask for"


def test_a_run_that_needs_attention_says_what_would_help() -> None:
    """For each step that needs somebody: the actions that would be taken now, and giving up."""
    assert list(next_actions(told(ATTENDED).state)) == [
        ("mail", (Action.RETRY, Action.SKIP, Action.REDRIVE, Action.ABANDON))
    ]
    assert list(next_actions(told(STUCK).state)) == [("fly", (Action.RETRY, Action.RESOLVE, Action.ABANDON))]
    doubt = told({("pay", FORWARD): [LATE]}).state
    assert list(next_actions(doubt)) == [("pay", (Action.RETRY, Action.SKIP, Action.RESOLVE, Action.ABANDON))]


def test_every_failed_undo_is_listed() -> None:
    """Undos that failed side by side are each named, with their own error."""
    steps = tuple(Step(name=name, compensation=FRAGILE) for name in ("a", "b"))
    saga = Saga(
        name="two",
        steps=(*steps, Step(name="pay", kind=Kind.PIVOT, retry=ONCE)),
        stages=(("a", "b"), ("pay",)),
    )
    permanent = Reply(duration_s=1, error_type="Gone", failure_class=FailureClass.PERMANENT)
    trial = told({("pay", FORWARD): [REFUSED], ("a", UNDO): [DOWN], ("b", UNDO): [permanent]}, saga=saga)
    assert [name for name, _ in next_actions(trial.state)] == ["a", "b"]
    assert (trial.state.steps["a"].error, trial.state.steps["b"].error) == ("Down", "Gone")
