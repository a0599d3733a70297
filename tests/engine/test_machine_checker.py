"""The checker of invariants can fail: for each thing it says, a story that makes it say so."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from sagacity_engine.events import (
    Action,
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
    UnknownReason,
)
from sagacity_engine.parts import Approval, Compensation, Kind, Lock, Probe, StepFreedom
from sagacity_engine.plan import Plan, author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import DOWN, REFUSED, SUCCESS, Effect, Trial, play, violations

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
ONCE, TWICE = RetryPolicy(maximum_attempts=1), RetryPolicy(maximum_attempts=2)
GO_ON = OnFailure.all(Strategy.FORWARD_RECOVERY)
A, B, PAY = Step(name="a"), Step(name="b", after=("a",)), Step(name="pay", kind=Kind.PIVOT, retry=ONCE)
CHAIN = Saga(name="chain", steps=(A, B, PAY))
ONE = Saga(name="one", steps=(A,))
SIDE = Saga(name="side", steps=(A, Step(name="b"), PAY), stages=(("a", "b"), ("pay",)))
REPLACED = Saga(name="replaced", steps=(Step(name="a", on_failure=GO_ON), Step(name="z", alternative_to="a")))
SAVED = Saga(
    name="saved",
    steps=(Step(name="a", savepoint=True), Step(name="b"), Step(name="c", savepoint=True), PAY),
    stages=(("a",), ("b",), ("c",), ("pay",)),
)
ASK = Saga(name="ask", steps=(Step(name="boss", kind=Kind.READ_ONLY, approval=Approval(expires_after_s=9)),))
PROBED = Saga(name="probed", steps=(Step(name="a", probe=Probe(retry=TWICE)),))
HEDGE = Saga(
    name="hedge", steps=(Step(name="a", idempotent=True, freedom=StepFreedom(hedge_delay_s=(2, 2))),)
)
HEDGED = replace(author_plan(HEDGE), steps=(replace(author_plan(HEDGE).steps[0], hedge_delay_s=2.0),))


def begin(saga: Saga, plan: Plan | None = None, locks: tuple[str, ...] = ()) -> Event:
    return RunStarted(
        run_id="r", at=0, definition_hash=saga.definition_hash, plan=plan or author_plan(saga), locks=locks
    )


def go(step: str = "a", at: float = 1, attempt: int = 1, way: Direction = FORWARD) -> Event:
    return AttemptStarted(at=at, step=step, direction=way, attempt=attempt)


def ok(step: str = "a", at: float = 2, attempt: int = 1, way: Direction = FORWARD) -> Event:
    return AttemptSucceeded(at=at, step=step, direction=way, attempt=attempt)


def no(
    step: str = "a", at: float = 2, attempt: int = 1, way: Direction = FORWARD, *, final: bool = False
) -> Event:
    return AttemptFailed(
        at=at, step=step, direction=way, attempt=attempt, error_type="No", terminal=final, jitter=1.0
    )


def lost(step: str = "a", at: float = 2, attempt: int = 1, way: Direction = FORWARD) -> Event:
    return AttemptUnknown(at=at, step=step, direction=way, attempt=attempt, reason=UnknownReason.LOST_REPLY)


def told(answer: Answer, at: float = 4, attempt: int = 1) -> Event:
    return ProbeAnswered(at=at, step="a", attempt=attempt, answer=answer)


def end(status: Status = Status.COMPLETED, step: str = "", at: float = 99, reason: str = "so") -> Event:
    return RunEnded(at=at, status=status, step=step, reason=reason)


def act(action: Action, step: str = "", at: float = 3, who: str = "Asha", why: str = "so") -> Event:
    return OperatorActed(at=at, action=action, who=who, why=why, step=step)


def cancel(at: float = 3, who: str = "Asha") -> Event:
    return CancelRequested(at=at, who=who)


def effect(
    step: str = "a", way: Direction = FORWARD, attempt: int = 1, key: str = "k", **fields: bool
) -> Effect:
    return Effect(step=step, direction=way, attempt=attempt, key=key, **fields)


DONE = (go(), ok())
UNDO_A = (go("a", 5, 1, UNDO), ok("a", 6, 1, UNDO))
FAILED_PAY = (*DONE, go("b", 2), ok("b", 3), go("pay", 3), no("pay", 4))
BACK_BOTH = (go("b", 5, 1, UNDO), ok("b", 6, 1, UNDO), go("a", 6, 1, UNDO), ok("a", 7, 1, UNDO))
COMPENSATED, ATTENTION, ABANDONED = Status.COMPENSATED, Status.NEEDS_ATTENTION, Status.ABANDONED
PAUSE, RESUME = act(Action.PAUSE), act(Action.RESUME, at=9)
SAFE = (*DONE, go("b", 2), no("b", 3))
Story = tuple[Saga, Sequence[Event]]


def of(saga: Saga, *events: Event) -> Story:
    return saga, (begin(saga), *events)


def numbered(saga: Saga, **fields: object) -> Saga:
    """The saga with its first step changed."""
    return replace(saga, steps=(replace(saga.steps[0], **fields), *saga.steps[1:]))  # type: ignore[arg-type]


TERSE = numbered(ONE, retry=RetryPolicy(maximum_attempts=3), schedule_to_close_timeout_s=1.5)
HASTY = numbered(ONE, on_failure=OnFailure.all(Strategy.IMMEDIATE_FULL_COMPENSATION))
AFTER_FAILURE = numbered(ONE, compensation=Compensation(after_failure=True))
OPTIONAL = Saga(name="optional", steps=(Step(name="a", optional=True), Step(name="b", after=("a",))))
PLAN = author_plan(CHAIN)

STORIES: list[tuple[str, Story]] = [
    # The end.
    ("I1 the run has not ended", of(ONE, *DONE)),
    ("I1 step 'a' was in flight at the end", of(ONE, go(), end())),
    ("I10 the run ended while it was paused", of(ONE, *DONE, PAUSE, end())),
    ("I1 the run ended COMPLETED though it was abandoned", of(ONE, *DONE, act(Action.ABANDON), end())),
    ("I1 the run ended ABANDONED though it was not", of(ONE, *DONE, end(ABANDONED))),
    ("I1 RUNNING is no end", of(ONE, *DONE, end(Status.RUNNING))),
    ("I5 the run completed though it was to turn back", of(ONE, *DONE, cancel(), end())),
    ("I1 step 'b' did not succeed", of(CHAIN, *DONE, end())),
    ("I3 step 'a' may stand though it was given up", of(OPTIONAL, go(), lost(), go("b"), ok("b"), end())),
    ("I3 step 'a' was refused and not undone", of(AFTER_FAILURE, go(), no(), end(COMPENSATED, "a"))),
    ("I5 the run was compensated after its pivot", of(CHAIN, go("pay"), ok("pay"), end(COMPENSATED))),
    ("I1 the run was compensated though nothing failed", of(ONE, *DONE, *UNDO_A, end(COMPENSATED))),
    ("I3 step 'a' may stand though the run is COMPENSATED", of(ONE, *DONE, cancel(), end(COMPENSATED))),
    ("I1 the run needs attention and does not say", of(ONE, *DONE, end(ATTENTION, "a", reason=""))),
    ("I1 the run needs attention and does not say", of(ONE, *DONE, end(ATTENTION))),
    ("I1 step 'a' needs no attention", of(ONE, *DONE, end(ATTENTION, "a"))),
    ("I1 AttemptStarted after the end", of(ONE, *DONE, end(), go("a", 99, 2))),
    # The story itself.
    ("I8 a run's events begin with its start", (ONE, DONE)),
    ("I8 a run's events begin with its start", (ONE, ())),
    ("I10 time went back", of(ONE, go("a", 5), ok("a", 4), end())),
    ("I8 AttemptStarted of 'train', which is no step", of(ONE, go("train"))),
    ("I8 a run started twice", of(ONE, begin(ONE), *DONE, end())),
    ("I9 step 'a' has two attempts in flight", of(ONE, go(), go("a", 1, 2))),
    ("I8 step 'a': attempt 3 follows 0", of(ONE, go("a", 1, 3))),
    ("I8 step 'a' was tried again before its attempt ended", of(ONE, go(), go("a", 1, 2))),
    ("I7 step 'a': the outcome of (forward, 1) has no intent", of(ONE, ok())),
    ("I7 step 'a': the outcome of (forward, 2) has no intent", of(ONE, go(), ok("a", 2, 2))),
    ("I7 step 'a': the outcome of (probe, 1) has no intent", of(PROBED, told(Answer.HAPPENED))),
    # Forward.
    ("I10 step 'a' was started while the run was paused", of(ONE, PAUSE, go("a", 4))),
    ("I1 step 'a' was started after the run was abandoned", of(ONE, act(Action.ABANDON), go("a", 4))),
    ("I9 step 'a' was started before the run held its locks", (ONE, (begin(ONE, None, ("k",)), go()))),
    (
        "I10 step 'a' was started before the launch",
        (ONE, (begin(ONE, replace(author_plan(ONE), launch_delay_s=5.0)), go())),
    ),
    ("I2 step 'a' was started again after it was done", of(ONE, *DONE, go("a", 3, 2))),
    (
        "I2 step 'a' was started again after others went on",
        of(OPTIONAL, go(), no(), go("b", 2), go("a", 9, 2)),
    ),
    (
        "I5 step 'b' was started forward after the run turned back",
        of(CHAIN, *DONE, go("a", 3, 1, UNDO), go("b", 4)),
    ),
    ("I5 step 'b' was started forward though the run was to", of(CHAIN, *DONE, cancel(), go("b", 4))),
    ("I2 step 'b' was started before 'a' was settled", of(CHAIN, go("b"))),
    ("I2 step 'b' was started before 'a' was settled", of(CHAIN, go(), no(), go("b", 2))),
    ("I2 step 'z' was started in place of 'a', which", of(REPLACED, *DONE, go("z", 3))),
    ("I2 step 'z' was started in place of 'a', which", of(REPLACED, go("z"))),
    ("I3 step 'z' was started beside 'a', whose effect", of(REPLACED, go(), lost(), go("z", 3))),
    # Again.
    (
        "I6 step 'a': more than its plan's 2 attempts",
        of(numbered(ONE, retry=TWICE), go(), no(), go("a", 9, 2), no("a", 9, 2), go("a", 19, 3)),
    ),
    (
        "I6 step 'a' was tried again after a refusal that is final",
        of(ONE, go(), no(final=True), go("a", 9, 2)),
    ),
    ("I6 step 'a' is not idempotent and was repeated", of(ONE, go(), lost(), go("a", 9, 2))),
    (
        "I6 step 'a' is not idempotent and was repeated",
        of(PROBED, go(), lost(), go("a", 3, 1, PROBE), told(Answer.CANNOT_TELL), go("a", 9, 2)),
    ),
    ("I10 step 'a' was tried again before its wait was over", of(ONE, go(), no(), go("a", 2.5, 2))),
    ("I10 step 'a' was tried again beyond its schedule-to-close", of(TERSE, go(), no(), go("a", 9, 2))),
    ("I6 step 'a' was tried again against its plan's strategy", of(HASTY, go(), no(), go("a", 9, 2))),
    (
        "I6 step 'a' was tried again beyond the run's retry budget",
        of(replace(ONE, retry_budget=0), go(), no(), go("a", 9, 2)),
    ),
    # Probes and hedges.
    ("I8 step 'a' has no probe and was asked about", of(ONE, go(), lost(), go("a", 3, 1, PROBE))),
    ("I6 step 'a' was asked about though nothing was in doubt", of(PROBED, go(), no(), go("a", 3, 1, PROBE))),
    (
        "I6 step 'a' was asked about more than 2 times",
        of(
            PROBED,
            go(),
            lost(),
            go("a", 3, 1, PROBE),
            told(Answer.CANNOT_TELL),
            go("a", 9, 2, PROBE),
            told(Answer.CANNOT_TELL, 10, 2),
            go("a", 19, 3, PROBE),
        ),
    ),
    (
        "I10 step 'a' was asked about again before the wait",
        of(PROBED, go(), lost(), go("a", 3, 1, PROBE), told(Answer.CANNOT_TELL), go("a", 4.5, 2, PROBE)),
    ),
    ("I7 step 'a' was hedged, but attempt 1 was not", of(HEDGE, AttemptHedged(at=3, step="a", attempt=1))),
    (
        "I9 step 'a' was hedged twice",
        (HEDGE, (begin(HEDGE, HEDGED), go(), *[AttemptHedged(at=3, step="a", attempt=1)] * 2)),
    ),
    (
        "I6 step 'a' was hedged, which its plan does not say",
        of(HEDGE, go(), AttemptHedged(at=3, step="a", attempt=1)),
    ),
    (
        "I10 step 'a' was hedged before its delay",
        (HEDGE, (begin(HEDGE, HEDGED), go(), AttemptHedged(at=2, step="a", attempt=1))),
    ),
    (
        "I10 step 'a' was hedged while the run was paused",
        of(HEDGE, go(), PAUSE, AttemptHedged(at=3, step="a", attempt=1)),
    ),
    # Backward.
    ("I3 step 'pay' has no compensation and was undone", of(CHAIN, *FAILED_PAY, go("pay", 5, 1, UNDO))),
    ("I3 step 'a' was undone twice", of(ONE, *DONE, cancel(), *UNDO_A, go("a", 7, 2, UNDO))),
    ("I3 step 'a' took no effect and was undone", of(ONE, go(), no(), *UNDO_A)),
    ("I3 step 'b' took no effect and was undone", of(CHAIN, *DONE, cancel(), go("b", 5, 1, UNDO))),
    (
        "I5 step 'a' was undone though the pivot may have",
        of(CHAIN, *FAILED_PAY[:-1], lost("pay", 4), *UNDO_A),
    ),
    ("I5 step 'a' was undone while 'b' was in flight", of(CHAIN, *DONE, go("b", 2), cancel(), *UNDO_A)),
    ("I4 step 'a' was undone before 'b', which depends", of(CHAIN, *FAILED_PAY, *UNDO_A)),
    (
        "I6 step 'a': more than its compensation's 2",
        of(
            numbered(ONE, compensation=Compensation(retry=TWICE)),
            *DONE,
            cancel(),
            go("a", 5, 1, UNDO),
            no("a", 5, 1, UNDO),
            go("a", 9, 2, UNDO),
            no("a", 9, 2, UNDO),
            go("a", 19, 3, UNDO),
        ),
    ),
    (
        "I6 step 'a': its undo was tried again after a refusal",
        of(ONE, *DONE, cancel(), go("a", 5, 1, UNDO), no("a", 5, 1, UNDO, final=True), go("a", 9, 2, UNDO)),
    ),
    (
        "I10 step 'a': its undo was tried again before",
        of(ONE, *DONE, cancel(), go("a", 5, 1, UNDO), no("a", 5, 1, UNDO), go("a", 5, 2, UNDO)),
    ),
    (
        "I4 step 'a' was undone beside 'b' against STANDARD",
        of(
            SIDE,
            go(),
            ok(),
            go("b", 2),
            ok("b", 3),
            go("pay", 3),
            no("pay", 4),
            go("b", 5, 1, UNDO),
            *UNDO_A,
            ok("b", 7, 1, UNDO),
            end(COMPENSATED, "pay"),
        ),
    ),
    (
        "I4 step 'a' was undone before 'b', which was started later",
        of(
            SIDE,
            go(),
            ok(),
            go("b", 2),
            ok("b", 3),
            go("pay", 3),
            no("pay", 4),
            *UNDO_A,
            go("b", 7, 1, UNDO),
            ok("b", 8, 1, UNDO),
            end(COMPENSATED, "pay"),
        ),
    ),
    # People and clocks.
    ("I1 nobody signed the pause", of(ONE, act(Action.PAUSE, who=" "))),
    ("I1 nobody signed the cancellation", of(ONE, cancel(who=""))),
    ("I1 the run was abandoned without a reason", of(ONE, act(Action.ABANDON, why=""))),
    ("I1 redrive of a run that had ended COMPLETED", of(ONE, *DONE, end(at=3), act(Action.REDRIVE))),
    ("I1 redrive of a run that had not ended", of(ONE, *DONE, act(Action.REDRIVE))),
    ("I1 pause of a run that was paused", of(ONE, PAUSE, PAUSE)),
    ("I1 resume of a run that was not paused", of(ONE, RESUME)),
    ("I1 OperatorActed after the end", of(ONE, *DONE, end(at=3), PAUSE)),
    ("I5 a run was taken back after its pivot", of(CHAIN, go("pay"), ok("pay"), end(at=3), act(Action.UNDO))),
    ("I8 OperatorActed of 'train', which is no step", of(ONE, act(Action.RETRY, "train"))),
    ("I8 retry of '', which is no step", of(ONE, act(Action.RETRY))),
    ("I9 retry of step 'a' while it was in flight", of(ONE, go(), act(Action.RETRY, "a"))),
    (
        "I2 step 'a' was skipped after it was undone",
        of(ONE, *DONE, cancel(), *UNDO_A, act(Action.SKIP, "a", 7)),
    ),
    (
        "I5 retry of step 'b' while the run was taken back",
        of(CHAIN, *SAFE, *UNDO_A, act(Action.RETRY, "b", 7)),
    ),
    ("I8 signal 'boss' is awaited by no step", of(ONE, SignalReceived(at=1, name="boss"))),
    ("I2 step 'boss' went on though nobody approved it", of(ASK, go("boss"), ok("boss", 5))),
    ("I2 step 'boss' went on though nobody approved it", of(ASK, go("boss"), ok("boss", 50))),
    ("I2 step 'boss' was refused though nobody refused it", of(ASK, go("boss"), no("boss", 5))),
    ("I2 step 'boss' waits for an approval, whose outcome", of(ASK, go("boss"), lost("boss", 5))),
    ("I10 the deadline was noted before it passed", of(replace(ONE, deadline_s=9.0), DeadlineReached(at=8))),
    ("I10 the deadline was noted before it passed", of(ONE, DeadlineReached(at=8))),
    ("I10 the deadline was noted twice", of(replace(ONE, deadline_s=9.0), *[DeadlineReached(at=9)] * 2)),
    ("I10 the deadline was noted while", of(replace(ONE, deadline_s=2.0), PAUSE, DeadlineReached(at=9))),
    # Savepoints.
    ("I3 the run went back to 'b', which is no savepoint", of(SAVED, *SAFE, RolledBack(at=5, savepoint="b"))),
    ("I3 the run went back to 'c', which is no savepoint", of(SAVED, *SAFE, RolledBack(at=5, savepoint="c"))),
    (
        "I5 the run went back to a savepoint though the pivot",
        of(SAVED, *DONE, go("pay"), lost("pay"), RolledBack(at=5, savepoint="a")),
    ),
    (
        "I6 the run went back to a savepoint more than 1",
        of(SAVED, *SAFE, *[RolledBack(at=5, savepoint="a")] * 2),
    ),
    (
        "I5 the run went forward from a savepoint though",
        of(SAVED, *SAFE, cancel(), RolledBack(at=5, savepoint="a")),
    ),
    (
        "I10 the run went back to a savepoint while it was paused",
        of(SAVED, *SAFE, PAUSE, RolledBack(at=5, savepoint="a")),
    ),
    (
        "I4 the run went back beyond savepoint 'c'",
        of(SAVED, *DONE, go("b", 2), ok("b", 3), go("c", 3), ok("c", 4), RolledBack(at=5, savepoint="a")),
    ),
    (
        "I3 step 'b' was begun anew though its effect may",
        of(SAVED, *DONE, go("b", 2), ok("b", 3), RolledBack(at=5, savepoint="a")),
    ),
    (
        "I9 step 'b' was begun anew while it was in flight",
        of(SAVED, *DONE, go("b", 2), RolledBack(at=5, savepoint="a")),
    ),
    # The plan.
    ("I12 the run is pinned to another definition", (ONE, (begin(CHAIN), *DONE))),
    ("I12 the plan drops or adds a step", (ONE, (begin(CHAIN), *DONE))),
    (
        "I12 the plan delays the launch by 5 s",
        (ONE, (begin(ONE, replace(author_plan(ONE), launch_delay_s=5.0)),)),
    ),
    (
        "I12 in the plan step 'b' does not wait for 'a'",
        (
            CHAIN,
            (
                begin(
                    CHAIN,
                    replace(PLAN, steps=(PLAN.steps[0], replace(PLAN.steps[1], after=()), PLAN.steps[2])),
                ),
            ),
        ),
    ),
    (
        "I12 the plan gives step 'a' 2 attempts",
        (CHAIN, (begin(CHAIN, replace(PLAN, steps=(replace(PLAN.steps[0], retry=TWICE), *PLAN.steps[1:]))),)),
    ),
    (
        "I12 the plan gives step 'a' 77 s",
        (
            CHAIN,
            (
                begin(
                    CHAIN,
                    replace(
                        PLAN, steps=(replace(PLAN.steps[0], start_to_close_timeout_s=77.0), *PLAN.steps[1:])
                    ),
                ),
            ),
        ),
    ),
    (
        "I12 the plan hedges step 'a', which is not",
        (
            CHAIN,
            (
                begin(
                    CHAIN, replace(PLAN, steps=(replace(PLAN.steps[0], hedge_delay_s=2.0), *PLAN.steps[1:]))
                ),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("wanted", "story"), STORIES, ids=[wanted for wanted, _ in STORIES])
def test_a_planted_breach_is_seen(wanted: str, story: Story) -> None:
    """The story is told wrongly in one way, and the checker names that."""
    found = violations(*story)
    assert any(breach.startswith(wanted) for breach in found), found


BACK = (*DONE, cancel(), *UNDO_A, end(COMPENSATED))
BOOKS = [effect(), effect(way=UNDO, key="u")]
LEDGERS: list[tuple[str, Sequence[Event], list[Effect]]] = [
    ("I7 step 'a' took effect (forward, attempt 7) without", BACK, [effect(attempt=7), *BOOKS]),
    ("I6 step 'a' took effect 2 times (forward) in 1 calls", BACK, [effect(), *BOOKS]),
    ("I6 key k took effect 2 times", BACK, [effect(honours_keys=True), effect(honours_keys=True)]),
    ("I6 step 'a' (forward) was called under 2 keys", BACK, [effect(), effect(key="l")]),
    ("I6 key k stands for 2 different effects", BACK, [effect(), effect(way=UNDO)]),
    ("I6 step 'a' succeeded without an effect", (*DONE, end()), []),
    ("I3 step 'a' took effect and stands though", BACK, [*BOOKS[::-1]]),
]


@pytest.mark.parametrize(("wanted", "events", "ledger"), LEDGERS, ids=[each[0] for each in LEDGERS])
def test_a_breach_planted_in_the_ledger_is_seen(
    wanted: str, events: Sequence[Event], ledger: list[Effect]
) -> None:
    """The participants did something else than the events tell, and the checker names that."""
    found = violations(ONE, (begin(ONE), *events), ledger)
    assert any(breach.startswith(wanted) for breach in found), found


def test_the_spoiled_stories_are_clean_before_they_are_spoiled() -> None:
    """What the planted breaches grew from has none: the checker does not cry wolf."""
    assert violations(ONE, (begin(ONE), *BACK), BOOKS) == ()
    assert violations(*of(CHAIN, *FAILED_PAY, *BACK_BOTH, end(COMPENSATED, "pay"))) == ()
    assert violations(*of(PROBED, go(), lost(), go("a", 3, 1, PROBE), told(Answer.HAPPENED), end())) == ()
    assert violations(*of(ASK, go("boss"), SignalReceived(at=4, name="boss"), ok("boss", 4), end())) == ()
    anew = (go("b", 3, 2), ok("b", 4, 2), go("c", 4), ok("c", 5), go("pay", 5), ok("pay", 6), end())
    assert violations(*of(SAVED, *SAFE, RolledBack(at=3, savepoint="a"), *anew)) == ()
    assert violations(*of(REPLACED, go(), no(final=True), go("z", 3), ok("z", 4), end())) == ()
    hedge = AttemptHedged(at=3, step="a", attempt=1)
    assert violations(HEDGE, (begin(HEDGE, HEDGED), go(), hedge, ok("a", 4), end())) == ()
    locked = replace(ONE, locks=(Lock(key="k"),))
    assert violations(locked, (begin(locked, None, ("k",)), LocksAcquired(at=1), *DONE, end())) == ()


def test_every_rule_of_the_checker_has_a_planted_breach() -> None:
    """No sentence in the checker's rules is left that these stories never make it say."""
    said = {breach for _, story in STORIES for breach in violations(*story)}
    said |= {
        breach for _, events, ledger in LEDGERS for breach in violations(ONE, (begin(ONE), *events), ledger)
    }
    said |= {breach.partition(": ")[2] for breach in _nested().violations()}
    silent = [text.pattern for text in _sentences() if not any(text.fullmatch(breach) for breach in said)]
    assert silent == []


def _sentences() -> list[re.Pattern[str]]:
    """Every sentence of the rules, with what is filled in left open."""
    spec = find_spec("sagacity_engine.testing.checker.invariants")
    assert spec is not None
    assert spec.origin is not None
    found = []
    for name in (
        "invariants",
        "plan_rules",
        "start_rules",
        "undo_rules",
        "outcome_rules",
        "people_rules",
        "end_rules",
        "ledger_rules",
        "../trial",
    ):
        tree = ast.parse((Path(spec.origin).parent / f"{name}.py").read_text("utf-8"))
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".*" for p in parts]
            text = "".join(texts)
            if re.match(r"(\.\*: )?I\d+\\ ", text):
                found.append(re.compile(text.removeprefix(".*: ")))
    return [each for each in found if not any(each.pattern in o.pattern and each is not o for o in found)]


def _nested() -> Trial:
    """A run that claims to be compensated above an inner run that stands."""

    saga = Saga(name="outer", steps=(Step(name="in", sub_saga=SubSaga(saga=ONE)), PAY))
    sound = play(saga, {("pay", FORWARD): [REFUSED]}).sound()
    inner = sound.events["run/in/1"]
    states = dict(sound.states)
    state = states["run/in/1"] = states["run/in/1"].copy()
    state.ended = RunEnded(at=9, status=Status.COMPLETED)
    return replace(sound, events={**sound.events, "run/in/1": inner[:4]}, states=states)


def test_a_play_says_what_it_breached() -> None:
    """`sound` returns the trial it was asked of, or raises with every breach of every run."""
    trial = play(CHAIN, {("b", FORWARD): [DOWN, SUCCESS]})
    assert trial.sound() is trial
    with pytest.raises(AssertionError, match="run/in/1: I3 the inner run stands"):
        _nested().sound()
