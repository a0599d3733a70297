"""Hedges: a second call beside a slow first one, under the same intent and the same key."""

from dataclasses import replace

from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Status,
)
from sagacity_engine.parts import StepFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing import DOWN, LATE, LOST, SUCCESS, Hedged, Trial, Wish, play
from sagacity_engine.virtual.host import Reply

FORWARD = Direction.FORWARD
SAGA = Saga(
    name="hedged",
    steps=(
        Step(
            name="a",
            idempotent=True,
            retry=RetryPolicy(maximum_attempts=1),
            freedom=StepFreedom(hedge_delay_s=(1, 5)),
        ),
    ),
)
AUTHOR = author_plan(SAGA)
PLAN = replace(AUTHOR, steps=(replace(AUTHOR.steps[0], hedge_delay_s=2.0),))
SLOW, SLOW_NO = Reply(duration_s=8), Reply(duration_s=5, error_type="No")


def hedged(first: Reply, second: Reply, *wishes: Wish) -> Trial:
    trial = play(SAGA, {("a", FORWARD): [Hedged(first, second)]}, PLAN, wishes=wishes).sound()
    assert trial.state.started.plan == PLAN
    return trial


def test_a_quick_call_is_not_hedged() -> None:
    """A reply before the delay is over leaves nothing to do."""
    assert hedged(SUCCESS, SUCCESS).times(AttemptHedged) == []


def test_the_quicker_of_two_calls_decides() -> None:
    """First slow, second fast: the attempt succeeds with the second, once, under one key and one effect."""
    trial = hedged(SLOW, SUCCESS)
    assert (trial.times(AttemptHedged), trial.times(AttemptSucceeded)) == ([2.0], [3.0])
    assert len(trial.times(AttemptStarted)) == len(trial.ledger["run"]) == 1


def test_one_refusal_waits_for_the_other_call() -> None:
    """A second call that is refused decides nothing while the first may still succeed."""
    trial = hedged(SLOW, DOWN)
    assert (trial.times(AttemptSucceeded), trial.times(AttemptFailed)) == ([8.0], [])


def test_two_refusals_are_a_refusal() -> None:
    """Both fail: the attempt fails when the later one does, and nothing is undone."""
    trial = hedged(SLOW_NO, DOWN)
    assert trial.times(AttemptFailed) == [5.0]
    assert (trial.ended, trial.started(Direction.UNDO)) == ((Status.COMPENSATED, "a"), [])


def test_an_unknown_call_beside_a_refusal_is_unknown() -> None:
    """As soon as one of the calls may have taken effect, so may the attempt, and it is undone."""
    for first, second in ((SLOW_NO, LOST), (LATE, DOWN)):
        trial = hedged(first, second)
        assert len(trial.times(AttemptUnknown)) == 1
        assert (trial.ended, trial.started(Direction.UNDO)) == ((Status.COMPENSATED, "a"), ["a"])


def test_both_calls_end_with_the_attempts_timeout() -> None:
    """The second call has only what the first one left of the attempt's time."""
    assert hedged(LATE, LATE).times(AttemptUnknown) == [10.0]


def test_a_run_that_turns_back_makes_no_second_call() -> None:
    """After a cancellation the call in flight is waited for, and no other is made."""
    trial = hedged(SLOW, SUCCESS, (1.0, CancelRequested(at=0, who="Asha")))
    assert (trial.times(AttemptHedged), trial.ended) == ([], (Status.COMPENSATED, ""))


def test_every_attempt_may_be_hedged() -> None:
    """A retry is hedged like the first attempt."""
    plan = replace(PLAN, steps=(replace(PLAN.steps[0], retry=RetryPolicy(maximum_attempts=2)),))
    saga = replace(SAGA, steps=(replace(SAGA.steps[0], retry=RetryPolicy(maximum_attempts=2)),))
    plan = replace(plan, definition_hash=saga.definition_hash)
    trial = play(saga, {("a", FORWARD): [Hedged(SLOW_NO, DOWN), Hedged(SLOW, SUCCESS)]}, plan).sound()
    assert (len(trial.times(AttemptHedged)), trial.ended[0]) == (2, Status.COMPLETED)
