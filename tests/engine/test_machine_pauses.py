"""Pausing: nothing is started while a run is paused, and its clocks stand still."""

from dataclasses import replace

from sagacity_engine.events import (
    Action,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    OperatorActed,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.parts import Approval, Kind, LaunchFreedom, OnExpiry, SagaFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing import DOWN, SUCCESS, Wish, play
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


def pause(after_s: float, resume_after_s: float) -> list[Wish]:
    def act(action: Action) -> Event:
        return OperatorActed(at=0, action=action, who="Asha", why="the road is closed")

    return [(after_s, act(Action.PAUSE)), (resume_after_s, act(Action.RESUME))]


TWO = Saga(name="two", steps=(Step(name="a"), Step(name="b")))


def test_nothing_starts_while_a_run_is_paused() -> None:
    """The call in flight comes to its end; the next step waits for the resume."""
    trial = play(TWO, {}, wishes=pause(0.5, 9.0)).sound()
    assert (trial.times(AttemptSucceeded, "a"), trial.times(AttemptStarted, "b")) == ([1.0], [9.0])


def test_a_backoff_goes_on_where_it_stood() -> None:
    """Of a wait of half a second, what was left at the pause is waited after the resume."""
    trial = play(TWO, {("a", FORWARD): [DOWN, SUCCESS]}, wishes=pause(1.2, 9.0)).sound()
    [first, second] = trial.times(AttemptStarted, "a")
    assert (first, round(second, 9)) == (0.0, 9.3)


def test_a_failure_during_the_pause_waits_from_the_resume() -> None:
    """The wait after a failure that came while the clock stood begins when it goes on, not later."""
    trial = play(TWO, {("a", FORWARD): [DOWN, SUCCESS]}, wishes=pause(0.5, 9.0)).sound()
    assert [round(at, 9) for at in trial.times(AttemptStarted, "a")] == [0.0, 9.5]


def test_the_deadline_is_put_off() -> None:
    """Time spent paused does not count towards the deadline."""
    definition = replace(TWO, deadline_s=5.0)
    late = {("a", FORWARD): [Reply(duration_s=4)], ("b", FORWARD): [Reply(duration_s=3)]}
    # The call in flight goes on during the pause, so that b has four seconds from the resume to the deadline.
    trial = play(definition, late, wishes=pause(1.0, 21.0)).sound()
    assert (trial.times(DeadlineReached), trial.ended[0]) == ([], Status.COMPLETED)
    assert play(definition, late).sound().times(DeadlineReached) == [5.0]


def test_an_approval_expires_later() -> None:
    """Somebody who is asked has as much time as without the pause."""
    approval = Approval(expires_after_s=10.0, on_expiry=OnExpiry.APPROVE)
    definition = Saga(name="ask", steps=(Step(name="boss", kind=Kind.READ_ONLY, approval=approval),))
    trial = play(definition, {}, wishes=pause(4.0, 104.0)).sound()
    assert trial.times(AttemptSucceeded, "boss") == [110.0]


def test_a_delayed_launch_is_put_off() -> None:
    """The launch waits out what is left of its delay after the resume."""
    definition = replace(TWO, freedom=SagaFreedom(launch=LaunchFreedom(wait_s_max=10)))
    plan = replace(author_plan(definition), launch_delay_s=4.0)
    assert play(definition, {}, plan).sound().times(AttemptStarted, "a") == [4.0]
    assert play(definition, {}, plan, wishes=pause(1.0, 11.0)).sound().times(AttemptStarted, "a") == [14.0]


def test_schedule_to_close_does_not_run_while_paused() -> None:
    """A pause takes nothing from the time that a step has for all its attempts."""
    definition = Saga(
        name="close",
        steps=(Step(name="a", schedule_to_close_timeout_s=5.0, retry=RetryPolicy(maximum_attempts=5)),),
    )
    script = {("a", FORWARD): [DOWN, DOWN, SUCCESS]}
    assert play(definition, script).sound().ended[0] is Status.COMPLETED
    assert play(definition, script, wishes=pause(1.1, 60.0)).sound().ended[0] is Status.COMPLETED


def test_a_cancellation_during_the_pause_is_carried_out_afterwards() -> None:
    """Undos are not started while the run is paused either."""
    cancel = CancelRequested(at=0, who="Asha")
    trial = play(TWO, {}, wishes=[*pause(1.5, 30.0), (5.0, cancel)]).sound()
    assert (trial.ended[0], sorted(trial.started(UNDO))) == (Status.COMPENSATED, ["a", "b"])
    assert min(trial.times(AttemptStarted)[2:]) == 30.0


def test_a_paused_run_may_be_abandoned() -> None:
    """Giving a run up needs no resume; it ends when its last call has come to an end."""
    abandon = OperatorActed(at=0, action=Action.ABANDON, who="Asha", why="too late")
    trial = play(TWO, {}, wishes=[pause(0.5, 0)[0], (0.7, abandon)]).sound()
    assert trial.ended[0] is Status.ABANDONED
    assert trial.state.ended is not None
    assert trial.state.ended.at - trial.state.started.at == 1.0


def test_an_abandoned_run_that_waits_for_a_call_comes_to_its_end() -> None:
    """A step that backs off while another is in flight is left alone, and the run ends with the call."""
    definition = replace(TWO, stages=(("a", "b"),))
    script = {("a", FORWARD): [DOWN], ("b", FORWARD): [Reply(duration_s=8)]}
    abandon = OperatorActed(at=0, action=Action.ABANDON, who="Asha", why="too late")
    trial = play(definition, script, wishes=[(1.1, abandon)]).sound()
    assert (trial.ended[0], trial.phase("a"), trial.phase("b")) == (
        Status.ABANDONED,
        StepPhase.BACKING_OFF,
        StepPhase.SUCCEEDED,
    )
