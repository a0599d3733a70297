"""The printed table of a step's moves is the whole truth about them."""

import itertools
import re

import pytest

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine import apply, replay
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.phases import TRANSITIONS, StepPhase, Turn, transition_diagram, transition_table
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.run_state import RunState, begin
from sagacity_engine.saga import Saga, Step

SAGA = Saga(
    name="table",
    steps=(
        Step(
            name="a",
            idempotent=True,
            retry=RetryPolicy(maximum_attempts=2),
            compensation=Compensation(retry=RetryPolicy(maximum_attempts=2)),
        ),
        Step(name="b", optional=True, kind=Kind.READ_ONLY, retry=RetryPolicy(maximum_attempts=1)),
        Step(name="pay", kind=Kind.PIVOT),
    ),
    stages=(("a", "b"), ("pay",)),
)
FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
CANCEL = CancelRequested(at=3, who="a tester")


def start(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptStarted(at=1, step=step, direction=direction, attempt=attempt)


def succeed(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptSucceeded(at=2, step=step, direction=direction, attempt=attempt)


def refuse(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptFailed(at=2, step=step, direction=direction, attempt=attempt, error_type="No")


def lose(step: str, attempt: int = 1, direction: Direction = FORWARD) -> Event:
    return AttemptUnknown(
        at=2, step=step, direction=direction, attempt=attempt, reason=UnknownReason.LOST_REPLY
    )


def begun() -> RunState:
    return begin(
        SAGA, RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA))
    )


def after(*events: Event) -> RunState:
    state = begun()
    for event in events:
        state = apply(state, event)
    return state


# For each phase, the shortest story that puts a step there.
STORIES: dict[StepPhase, tuple[str, tuple[Event, ...]]] = {
    StepPhase.PENDING: ("a", ()),
    StepPhase.RUNNING: ("a", (start("a"),)),
    StepPhase.BACKING_OFF: ("a", (start("a"), refuse("a"))),
    StepPhase.SUCCEEDED: ("a", (start("a"), succeed("a"))),
    StepPhase.FAILED: ("a", (start("a"), refuse("a"), start("a", 2), refuse("a", 2))),
    StepPhase.UNCERTAIN: ("a", (start("a"), lose("a"), start("a", 2), lose("a", 2))),
    StepPhase.SKIPPED: ("b", (start("b"), refuse("b"))),
    StepPhase.UNDOING: ("a", (start("a"), succeed("a"), CANCEL, start("a", 1, UNDO))),
    StepPhase.UNDO_BACKING_OFF: (
        "a",
        (start("a"), succeed("a"), CANCEL, start("a", 1, UNDO), refuse("a", 1, UNDO)),
    ),
    StepPhase.UNDONE: ("a", (start("a"), succeed("a"), CANCEL, start("a", 1, UNDO), succeed("a", 1, UNDO))),
    StepPhase.COMPENSATION_FAILED: (
        "a",
        (
            start("a"),
            succeed("a"),
            CANCEL,
            start("a", 1, UNDO),
            refuse("a", 1, UNDO),
            start("a", 2, UNDO),
            lose("a", 2, UNDO),
        ),
    ),
}


def story_of(turn: Turn, phase: StepPhase) -> tuple[str, tuple[Event, ...], Event]:
    """A step, a story that puts it in this phase, and an event that is this turn."""
    a_last = (start("a"), refuse("a"), start("a", 2))
    a_lost = (start("a"), lose("a"))
    undoing = STORIES[StepPhase.UNDOING][1]
    last_undo = (*STORIES[StepPhase.UNDO_BACKING_OFF][1], start("a", 2, UNDO))
    held: dict[tuple[StepPhase, Turn], tuple[str, tuple[Event, ...], Event]] = {
        (StepPhase.PENDING, Turn.START): ("a", (), start("a")),
        (StepPhase.RUNNING, Turn.SUCCEED): ("a", (start("a"),), succeed("a")),
        (StepPhase.RUNNING, Turn.RETRY_LATER): ("a", (start("a"),), refuse("a")),
        (StepPhase.RUNNING, Turn.FAIL): ("a", a_last, refuse("a", 2)),
        (StepPhase.RUNNING, Turn.LOSE): ("a", a_last, lose("a", 2)),
        (StepPhase.RUNNING, Turn.SKIP): ("b", (start("b"),), refuse("b")),
        (StepPhase.BACKING_OFF, Turn.START): ("a", (start("a"), refuse("a")), start("a", 2)),
        (StepPhase.BACKING_OFF, Turn.FAIL): ("a", (start("a"), refuse("a")), CANCEL),
        (StepPhase.BACKING_OFF, Turn.LOSE): ("a", a_lost, CANCEL),
        (StepPhase.SUCCEEDED, Turn.START_UNDO): (
            "a",
            (start("a"), succeed("a"), CANCEL),
            start("a", 1, UNDO),
        ),
        (StepPhase.UNCERTAIN, Turn.START_UNDO): ("a", (*a_lost, CANCEL), start("a", 1, UNDO)),
        (StepPhase.UNDOING, Turn.UNDO): ("a", undoing, succeed("a", 1, UNDO)),
        (StepPhase.UNDOING, Turn.RETRY_UNDO_LATER): ("a", undoing, refuse("a", 1, UNDO)),
        (StepPhase.UNDOING, Turn.FAIL_UNDO): ("a", last_undo, refuse("a", 2, UNDO)),
        (StepPhase.UNDO_BACKING_OFF, Turn.START_UNDO): (
            "a",
            STORIES[StepPhase.UNDO_BACKING_OFF][1],
            start("a", 2, UNDO),
        ),
    }
    return held[phase, turn]


@pytest.mark.parametrize(("phase", "turn"), list(TRANSITIONS), ids=str)
def test_every_move_of_the_table_happens(phase: StepPhase, turn: Turn) -> None:
    """Each pair of the table can be reached by events, and leads where the table says."""
    step, story, event = story_of(turn, phase)
    before = after(*story)
    assert before.steps[step].phase is phase
    assert apply(before, event).steps[step].phase is TRANSITIONS[phase, turn]


def outcomes(phase: StepPhase) -> list[Event]:
    """One event of each sort about the step of this phase's story, rightly numbered."""
    name, story = STORIES[phase]
    step = after(*story).steps[name]
    return [
        start(name, step.attempts + 1),
        start(name, step.undo_attempts + 1, UNDO),
        *(
            make(name, number, direction)
            for make in (succeed, refuse, lose)
            for number, direction in ((step.attempts, FORWARD), (step.undo_attempts, UNDO))
        ),
    ]


LEGAL = {
    StepPhase.PENDING: {0},
    StepPhase.RUNNING: {2, 4, 6},
    StepPhase.BACKING_OFF: {0},
    StepPhase.SUCCEEDED: {1},
    StepPhase.FAILED: set(),
    StepPhase.UNCERTAIN: {1},
    StepPhase.SKIPPED: set(),
    StepPhase.UNDOING: {3, 5, 7},
    StepPhase.UNDO_BACKING_OFF: {1},
    StepPhase.UNDONE: set(),
    StepPhase.COMPENSATION_FAILED: set(),
}


@pytest.mark.parametrize(("phase", "which"), list(itertools.product(StepPhase, range(8))), ids=str)
def test_everything_else_is_illegal(phase: StepPhase, which: int) -> None:
    """In each phase, exactly the events that the table has room for are taken; all others raise."""
    state, event = after(*STORIES[phase][1]), outcomes(phase)[which]
    if which in LEGAL[phase]:
        assert apply(state, event) != state
    else:
        with pytest.raises(IllegalEvent):
            apply(state, event)


def test_the_table_knows_every_phase_and_turn() -> None:
    """No phase and no turn is left out of the table, and only four phases are final."""
    assert {turn for _, turn in TRANSITIONS} == set(Turn)
    assert {phase for phase, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(StepPhase)
    assert set(StepPhase) - {phase for phase, _ in TRANSITIONS} == {
        StepPhase.FAILED,
        StepPhase.SKIPPED,
        StepPhase.UNDONE,
        StepPhase.COMPENSATION_FAILED,
    }


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
        start("a", 2),
        start("pay", 1, UNDO),
        RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA)),
    ],
    ids=repr,
)
def test_nonsense_is_illegal(event: Event) -> None:
    """Unknown steps, wrong numbers, an undo that nobody declared and a second start raise."""
    with pytest.raises(IllegalEvent):
        apply(begun(), event)


def test_nothing_follows_the_end() -> None:
    """A run that has ended takes no event."""
    ended = apply(begun(), RunEnded(at=1, status=Status.NEEDS_ATTENTION))
    with pytest.raises(IllegalEvent, match="has ended"):
        apply(ended, CANCEL)


def test_a_run_is_pinned_to_its_definition() -> None:
    """A journal is not replayed with another definition, nor without its start."""
    other = Saga(name="table", steps=(Step(name="a"),))
    events = [RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA))]
    assert replay(SAGA, events) == begun()
    with pytest.raises(IllegalEvent, match="is pinned to definition"):
        replay(other, events)
    with pytest.raises(IllegalEvent, match="must begin with RunStarted"):
        replay(SAGA, [CANCEL])
