"""The printed tables of a step's moves, and of what people may do to it, are the whole truth about them."""

import itertools
import re

import pytest

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    Action,
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine.machine import apply, replay
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.phases import (
    OPERATIONS,
    TRANSITIONS,
    StepPhase,
    Turn,
    transition_diagram,
    transition_table,
)
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.parts import Approval, Compensation, Kind, Probe
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy

P = StepPhase
FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
ONCE, TWICE = RetryPolicy(maximum_attempts=1), RetryPolicy(maximum_attempts=2)
BACK = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
SAGA = Saga(
    name="table",
    steps=(
        Step(name="save", savepoint=True),
        Step(name="a", idempotent=True, retry=TWICE, compensation=Compensation(retry=TWICE)),
        Step(name="b", optional=True, kind=Kind.READ_ONLY, retry=ONCE),
        Step(name="boss", kind=Kind.READ_ONLY, approval=Approval()),
        Step(name="friend", kind=Kind.READ_ONLY, approval=Approval(), optional=True),
        Step(name="asked", retry=TWICE, probe=Probe(retry=TWICE)),
        Step(name="asked-once", retry=ONCE, probe=Probe(retry=ONCE), optional=True),
        Step(name="back", retry=ONCE, on_failure=BACK),
        Step(name="pay", kind=Kind.PIVOT, idempotent=True, retry=ONCE),
        Step(name="tell", kind=Kind.RETRIABLE, retry=ONCE),
        Step(name="tell-more", kind=Kind.RETRIABLE, probe=Probe()),
    ),
)
NO_PIVOT = Saga(name="note", steps=(Step(name="note", kind=Kind.RETRIABLE), Step(name="a")))
CANCEL = CancelRequested(at=3, who="a tester")


def start(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptStarted(at=1, step=step, direction=direction, attempt=attempt)


def succeed(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptSucceeded(at=2, step=step, direction=direction, attempt=attempt)


def refuse(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptFailed(at=2, step=step, direction=direction, attempt=attempt, error_type="No")


def reject(step: str, attempt: int = 1) -> Event:
    return AttemptFailed(
        at=2, step=step, direction=FORWARD, attempt=attempt, error_type="Rejected", terminal=True
    )


def lose(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptUnknown(
        at=2, step=step, direction=direction, attempt=attempt, reason=UnknownReason.LOST_REPLY
    )


def answer(step: str, told: Answer, attempt: int = 1) -> Event:
    return ProbeAnswered(at=2, step=step, attempt=attempt, answer=told)


def person(action: Action, step: str = "") -> OperatorActed:
    return OperatorActed(at=4, action=action, who="Asha", why="looked into it", step=step)


def ended(status: Status) -> Event:
    return RunEnded(at=3, status=status, reason="a test", step="a")


def begun(saga: Saga = SAGA) -> RunState:
    plan = author_plan(saga)
    return begin(saga, RunStarted(run_id="r", at=0, definition_hash=saga.definition_hash, plan=plan))


def after(*events: Event, saga: Saga = SAGA) -> RunState:
    state = begun(saga)
    for event in events:
        state = apply(state, event)
    return state


# Stories, each of which puts a step into a phase.
A_DONE = (start("a"), succeed("a"))
A_LOST_ONCE = (start("a"), lose("a"))
A_LOST = (*A_LOST_ONCE, start("a", 2), lose("a", 2))
A_UNDOING = (*A_DONE, CANCEL, start("a", 1, UNDO))
A_UNDO_WAITS = (*A_UNDOING, refuse("a", 1, UNDO))
A_STUCK = (*A_UNDO_WAITS, start("a", 2, UNDO), lose("a", 2, UNDO))
PAID = (start("pay"), succeed("pay"))
ASKED = (start("asked"), lose("asked"))
PROBING = (*ASKED, start("asked", 1, PROBE))
PROBED_TWICE = (*PROBING, answer("asked", Answer.CANNOT_TELL), start("asked", 2, PROBE))
TRIED_TWICE = (
    *PROBING,
    answer("asked", Answer.DID_NOT_HAPPEN),
    start("asked", 2),
    lose("asked", 2),
    start("asked", 2, PROBE),
)
ONE_PROBE = (start("asked-once"), lose("asked-once"), start("asked-once", 1, PROBE))
GOING_BACK = (start("save"), succeed("save"), start("back"), refuse("back"))
PIVOT_LOST = (start("pay"), lose("pay"), ended(Status.NEEDS_ATTENTION))

STORIES: dict[StepPhase, tuple[str, tuple[Event, ...]]] = {
    P.PENDING: ("a", ()),
    P.RUNNING: ("a", (start("a"),)),
    P.AWAITING: ("boss", (start("boss"),)),
    P.BACKING_OFF: ("a", (start("a"), refuse("a"))),
    P.DOUBTFUL: ("asked", ASKED),
    P.PROBING: ("asked", PROBING),
    P.SUCCEEDED: ("a", A_DONE),
    P.FAILED: ("a", (start("a"), refuse("a"), start("a", 2), refuse("a", 2))),
    P.UNCERTAIN: ("a", A_LOST),
    P.SKIPPED: ("b", (start("b"), refuse("b"))),
    P.UNDOING: ("a", A_UNDOING),
    P.UNDO_BACKING_OFF: ("a", A_UNDO_WAITS),
    P.UNDONE: ("a", (*A_UNDOING, succeed("a", 1, UNDO))),
    P.COMPENSATION_FAILED: ("a", A_STUCK),
}

RESET = RolledBack(at=4, savepoint="save")
MOVES: dict[tuple[StepPhase, Turn], tuple[str, tuple[Event, ...], Event]] = {
    (P.PENDING, Turn.START): ("a", (), start("a")),
    (P.BACKING_OFF, Turn.START): ("a", (start("a"), refuse("a")), start("a", 2)),
    (P.PENDING, Turn.AWAIT): ("boss", (), start("boss")),
    (P.RUNNING, Turn.SUCCEED): ("a", (start("a"),), succeed("a")),
    (P.AWAITING, Turn.SUCCEED): ("boss", (start("boss"),), succeed("boss")),
    (P.PROBING, Turn.SUCCEED): ("asked", PROBING, answer("asked", Answer.HAPPENED)),
    (P.RUNNING, Turn.DOUBT): ("asked", (start("asked"),), lose("asked")),
    (P.PROBING, Turn.DOUBT): ("asked", PROBING, answer("asked", Answer.CANNOT_TELL)),
    (P.DOUBTFUL, Turn.ASK): ("asked", ASKED, start("asked", 1, PROBE)),
    (P.RUNNING, Turn.RETRY_LATER): ("a", (start("a"),), refuse("a")),
    (P.PROBING, Turn.RETRY_LATER): ("asked", PROBING, answer("asked", Answer.DID_NOT_HAPPEN)),
    (P.RUNNING, Turn.FAIL): ("a", (start("a"), refuse("a"), start("a", 2)), refuse("a", 2)),
    (P.PROBING, Turn.FAIL): ("asked", TRIED_TWICE, answer("asked", Answer.DID_NOT_HAPPEN, 2)),
    (P.AWAITING, Turn.FAIL): ("boss", (start("boss"),), reject("boss")),
    (P.BACKING_OFF, Turn.FAIL): ("a", (start("a"), refuse("a")), CANCEL),
    (P.RUNNING, Turn.LOSE): ("a", (*A_LOST_ONCE, start("a", 2)), lose("a", 2)),
    (P.PROBING, Turn.LOSE): ("asked", PROBED_TWICE, answer("asked", Answer.CANNOT_TELL, 2)),
    (P.BACKING_OFF, Turn.LOSE): ("a", A_LOST_ONCE, CANCEL),
    (P.DOUBTFUL, Turn.LOSE): ("asked", ASKED, CANCEL),
    (P.PENDING, Turn.LOSE): ("pay", (*PIVOT_LOST, person(Action.REDRIVE)), CANCEL),
    (P.RUNNING, Turn.SKIP): ("b", (start("b"),), refuse("b")),
    (P.PROBING, Turn.SKIP): ("asked-once", ONE_PROBE, answer("asked-once", Answer.DID_NOT_HAPPEN)),
    (P.AWAITING, Turn.SKIP): ("friend", (start("friend"),), reject("friend")),
    (P.SUCCEEDED, Turn.START_UNDO): ("a", (*A_DONE, CANCEL), start("a", 1, UNDO)),
    (P.UNCERTAIN, Turn.START_UNDO): ("a", A_LOST, start("a", 1, UNDO)),
    (P.FAILED, Turn.START_UNDO): ("a", STORIES[P.FAILED][1], start("a", 1, UNDO)),
    (P.UNDO_BACKING_OFF, Turn.START_UNDO): ("a", A_UNDO_WAITS, start("a", 2, UNDO)),
    (P.UNDOING, Turn.UNDO): ("a", A_UNDOING, succeed("a", 1, UNDO)),
    (P.UNDOING, Turn.RETRY_UNDO_LATER): ("a", A_UNDOING, refuse("a", 1, UNDO)),
    (P.UNDOING, Turn.FAIL_UNDO): ("a", (*A_UNDO_WAITS, start("a", 2, UNDO)), refuse("a", 2, UNDO)),
    (P.SUCCEEDED, Turn.RESET): ("a", (*A_DONE, *GOING_BACK), RESET),
    (P.FAILED, Turn.RESET): ("back", GOING_BACK, RESET),
    (P.UNCERTAIN, Turn.RESET): ("pay", PIVOT_LOST, person(Action.REDRIVE)),
    (P.SKIPPED, Turn.RESET): ("b", (start("b"), refuse("b"), *GOING_BACK), RESET),
    (P.UNDONE, Turn.RESET): (
        "a",
        (*A_DONE, *GOING_BACK, start("a", 1, UNDO), succeed("a", 1, UNDO)),
        RESET,
    ),
}


@pytest.mark.parametrize(("phase", "turn"), list(TRANSITIONS), ids=str)
def test_every_move_of_the_table_happens(phase: StepPhase, turn: Turn) -> None:
    """Each pair of the table can be reached by events, and leads where the table says."""
    step, story, event = MOVES[phase, turn]
    before = after(*story)
    assert before.steps[step].phase is phase
    assert apply(before, event).steps[step].phase is TRANSITIONS[phase, turn]


def about(phase: StepPhase) -> dict[str, Event]:
    """One event of each sort about the step of this phase's story, rightly numbered."""
    name, story = STORIES[phase]
    step = after(*story).steps[name]
    return {
        "start": start(name, step.attempts + 1),
        "start undo": start(name, step.undo_attempts + 1, UNDO),
        "start probe": start(name, step.probes + 1, PROBE),
        "hedge": AttemptHedged(at=2, step=name, attempt=step.attempts),
        "succeed": succeed(name, step.attempts),
        "refuse": refuse(name, step.attempts),
        "reject": reject(name, step.attempts),
        "lose": lose(name, step.attempts),
        "succeed undo": succeed(name, step.undo_attempts, UNDO),
        "refuse undo": refuse(name, step.undo_attempts, UNDO),
        "lose undo": lose(name, step.undo_attempts, UNDO),
        "answer": answer(name, Answer.HAPPENED, step.probes),
    }


OUTCOMES = {"succeed", "refuse", "lose"}
LEGAL: dict[StepPhase, set[str]] = {
    P.PENDING: {"start"},
    P.RUNNING: {"hedge", "reject", *OUTCOMES},
    P.AWAITING: {"succeed", "reject"},  # An approval is given or refused for good.
    P.BACKING_OFF: {"start"},
    P.DOUBTFUL: {"start probe"},
    P.PROBING: {"answer"},
    P.SUCCEEDED: {"start undo"},
    P.FAILED: {"start undo"},
    P.UNCERTAIN: {"start undo"},
    P.SKIPPED: set(),
    P.UNDOING: {f"{outcome} undo" for outcome in OUTCOMES},
    P.UNDO_BACKING_OFF: {"start undo"},
    P.UNDONE: set(),
    P.COMPENSATION_FAILED: set(),
}


@pytest.mark.parametrize(("phase", "which"), list(itertools.product(StepPhase, about(P.PENDING))), ids=str)
def test_everything_else_is_illegal(phase: StepPhase, which: str) -> None:
    """In each phase, exactly the events that the table has room for are taken; all others raise."""
    state, event = after(*STORIES[phase][1]), about(phase)[which]
    if which in LEGAL[phase]:
        assert apply(state, event) != state
    else:
        before = state.copy()
        with pytest.raises(IllegalEvent):
            apply(state, event)
        assert state == before


TOLD = (*PAID, start("tell"), refuse("tell"))
LOST_WORD = (*PAID, start("tell"), lose("tell"))
DEEDS: dict[tuple[StepPhase, Action], tuple[str, Saga, tuple[Event, ...]]] = {
    (P.FAILED, Action.RETRY): ("tell", SAGA, TOLD),
    (P.UNCERTAIN, Action.RETRY): ("tell", SAGA, LOST_WORD),
    (P.BACKING_OFF, Action.RETRY): ("a", SAGA, (start("a"), refuse("a"))),
    (P.COMPENSATION_FAILED, Action.RETRY): ("a", SAGA, A_STUCK),
    (P.UNDO_BACKING_OFF, Action.RETRY): ("a", SAGA, A_UNDO_WAITS),
    (P.PENDING, Action.SKIP): ("a", SAGA, ()),
    (P.AWAITING, Action.SKIP): ("boss", SAGA, (start("boss"),)),
    (P.BACKING_OFF, Action.SKIP): ("a", SAGA, (start("a"), refuse("a"))),
    (P.DOUBTFUL, Action.SKIP): ("tell-more", SAGA, (*PAID, start("tell-more"), lose("tell-more"))),
    (P.FAILED, Action.SKIP): ("tell", SAGA, TOLD),
    (P.UNCERTAIN, Action.SKIP): ("tell", SAGA, LOST_WORD),
    (P.SUCCEEDED, Action.RESOLVE): ("note", NO_PIVOT, (start("note"), succeed("note"), CANCEL)),
    (P.UNCERTAIN, Action.RESOLVE): ("a", SAGA, (*A_LOST_ONCE, CANCEL)),
    (P.UNDO_BACKING_OFF, Action.RESOLVE): ("a", SAGA, A_UNDO_WAITS),
    (P.COMPENSATION_FAILED, Action.RESOLVE): ("a", SAGA, A_STUCK),
}


@pytest.mark.parametrize(("phase", "action"), list(OPERATIONS), ids=str)
def test_everything_that_people_may_do_to_a_step_happens(phase: StepPhase, action: Action) -> None:
    """Each pair of the table is taken, also once the run needs attention, and leads where it says."""
    step, saga, story = DEEDS[phase, action]
    for whole in (story, (*story, ended(Status.NEEDS_ATTENTION))):
        before = after(*whole, saga=saga)
        assert before.steps[step].phase is phase
        assert refusal(before, person(action, step)) == ""
        acted = apply(before, person(action, step))
        assert acted.steps[step].phase is OPERATIONS[phase, action]
        assert acted.ended is None


OF_A_STEP = (Action.RETRY, Action.SKIP, Action.RESOLVE)


@pytest.mark.parametrize(("phase", "action"), list(itertools.product(StepPhase, OF_A_STEP)), ids=str)
def test_what_the_table_does_not_name_is_refused_in_words(phase: StepPhase, action: Action) -> None:
    """Anything else is refused with a sentence that names the phase, and would raise if it were folded."""
    if (phase, action) in OPERATIONS:
        return
    step, story = STORIES[phase]
    state = after(*story)
    words = refusal(state, person(action, step))
    assert f"step {step!r} is {phase.value}; {action.value} cannot be done to it" in words
    for other in OF_A_STEP:
        named = words.partition("what can be done to it is ")[2]
        assert (other.value in named) == ((phase, other) in OPERATIONS)
    with pytest.raises(IllegalEvent, match=re.escape(words)):
        apply(state, person(action, step))


def test_the_tables_know_every_phase_turn_and_action() -> None:
    """No phase and no turn is left out, and only one phase is left by nothing but a person."""
    assert {turn for _, turn in TRANSITIONS} == set(Turn)
    assert {phase for phase, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(StepPhase)
    assert set(StepPhase) - {phase for phase, _ in TRANSITIONS} == {P.COMPENSATION_FAILED}
    assert {action for _, action in OPERATIONS} == set(OF_A_STEP)
    assert (set(MOVES), set(DEEDS)) == (set(TRANSITIONS), set(OPERATIONS))


def test_the_printed_table_and_diagram_are_complete() -> None:
    """Text and diagram have one line per move, and nothing else."""
    assert [tuple(re.split(r"\s*-->\s*|\s*--", line)) for line in transition_table().splitlines()] == [
        (phase.value, turn.value, reached.value) for (phase, turn), reached in TRANSITIONS.items()
    ]
    assert len(transition_diagram().splitlines()) == len(TRANSITIONS) + 2


@pytest.mark.parametrize(
    "event",
    [
        start("nowhere"),
        succeed("nowhere", 0),
        refuse("nowhere", 0),
        lose("nowhere", 0),
        answer("nowhere", Answer.HAPPENED, 0),
        AttemptHedged(at=1, step="nowhere", attempt=0),
        start("a", 2),
        start("pay", 1, UNDO),
        start("a", 1, PROBE),
        answer("asked", Answer.HAPPENED, 1),
        RESET,
        person(Action.RESUME),
        RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA)),
    ],
    ids=repr,
)
def test_nonsense_is_illegal(event: Event) -> None:
    """Unknown steps, wrong numbers, undos that nobody declared and returns to nowhere raise."""
    with pytest.raises(IllegalEvent):
        apply(begun(), event)


def test_wrong_numbers_are_illegal() -> None:
    """An outcome, an answer or a hedge of another attempt than the one in flight raises."""
    for story, event in (
        ((start("a"),), succeed("a", 2)),
        ((start("a"),), AttemptHedged(at=1, step="a", attempt=2)),
        ((start("a"), AttemptHedged(at=1, step="a", attempt=1)), AttemptHedged(at=1, step="a", attempt=1)),
        (A_UNDOING, succeed("a", 2, UNDO)),
        (PROBING, answer("asked", Answer.HAPPENED, 2)),
        (GOING_BACK, RolledBack(at=4, savepoint="a")),
    ):
        with pytest.raises(IllegalEvent):
            apply(after(*story), event)


def test_nothing_but_a_person_follows_the_end() -> None:
    """A run that has ended takes no event of its own, and no cancellation."""
    over = after(ended(Status.NEEDS_ATTENTION))
    for event in (CANCEL, start("a"), ended(Status.COMPLETED)):
        with pytest.raises(IllegalEvent, match="has ended"):
            apply(over, event)
    assert apply(over, person(Action.ABANDON)).ended is None


def test_a_run_is_pinned_to_its_definition() -> None:
    """A journal is not replayed with another definition, nor without its start."""
    other = Saga(name="table", steps=(Step(name="a"),))
    events = [RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA))]
    assert replay(SAGA, events) == begun()
    with pytest.raises(IllegalEvent, match="is pinned to definition"):
        replay(other, events)
    with pytest.raises(IllegalEvent, match="must begin with RunStarted"):
        replay(SAGA, [CANCEL])
