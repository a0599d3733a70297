"""How each event changes what has been told of a run; nothing is judged here."""

from __future__ import annotations

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
    SignalReceived,
    Status,
)
from sagacity_engine.parts import Kind
from sagacity_engine.testing.checker.step_story import Outcome
from sagacity_engine.testing.checker.story import Story


def tell(story: Story, event: Event) -> None:
    """Goes on by one event."""
    story.at = max(story.at, event.at)
    match event:
        case AttemptStarted():
            _start(story, event)
        case AttemptSucceeded() | AttemptFailed() | AttemptUnknown():
            _close(story, event)
        case ProbeAnswered():
            _answer(story, event)
        case DeadlineReached() | CancelRequested():
            story.deadline_noted = story.deadline_noted or isinstance(event, DeadlineReached)
            _ask_back(story)
        case OperatorActed():
            _operate(story, event)
        case RolledBack():
            _roll_back(story, event)
        case _:
            _note(story, event)


def _note(story: Story, event: Event) -> None:
    """What changes one thing only."""
    match event:
        case AttemptHedged():
            story.steps[event.step].hedged = True
            story.calls[event.step, Direction.FORWARD] += 1
        case SignalReceived():
            story.signals[event.name] = event
        case LocksAcquired():
            story.locked = True
        case RunEnded():
            story.ended = event
        case _:
            pass


def _start(story: Story, event: AttemptStarted) -> None:
    step = story.steps[event.step]
    direction = event.direction
    step.open, step.hedged, step.open_clock = event, False, story.clock
    step.made[direction] = event.attempt
    story.calls[event.step, direction] += 1
    story.rounds[event.step, direction, event.attempt] = step.round
    step.undo_begun = step.undo_begun or direction is Direction.UNDO
    if direction is Direction.FORWARD:
        pivot_in_doubt = step.maybe and story.saga.by_name[event.step].kind is Kind.PIVOT
        story.retries += step.tries(direction) > 1 and not pivot_in_doubt
        if step.first_clock is None:
            step.first_clock, step.rank = story.clock, story.starts
            story.starts += 1


def _close(story: Story, event: Outcome) -> None:
    step = story.steps[event.step]
    step.open = None
    if event.direction is Direction.UNDO:
        if isinstance(event, AttemptSucceeded):
            step.gone = True
        else:
            step.last_undo, step.last_undo_clock = event, story.clock
        return
    if isinstance(event, AttemptSucceeded):
        step.landed, step.last = True, None
        return
    step.last, step.last_clock = event, story.clock
    step.maybe = step.maybe or (isinstance(event, AttemptUnknown) and story.leaves_effect(event.step))


def _answer(story: Story, event: ProbeAnswered) -> None:
    step = story.steps[event.step]
    step.open = None
    if event.answer is Answer.HAPPENED:
        step.landed, step.last = True, None
        return
    step.last, step.last_clock = event, story.clock
    if event.answer is Answer.DID_NOT_HAPPEN:
        step.maybe = False


def _ask_back(story: Story) -> None:
    story.asked_back = story.asked_back or not story.committed


def _operate(story: Story, event: OperatorActed) -> None:
    story.people_acted = True
    if event.action is Action.PAUSE:
        story.paused_at = event.at
        return
    if event.action is Action.RESUME:
        story.paused_s += story.at - (story.paused_at if story.paused_at is not None else story.at)
        story.paused_at = None
        return
    if story.ended is not None and story.ended.status is not Status.NEEDS_ATTENTION:
        story.locked = not story.started.locks
    story.ended = None
    if event.action is Action.ABANDON:
        story.abandoned = True
    elif event.action is Action.UNDO:
        _ask_back(story)
    elif event.action is Action.REDRIVE:
        _redrive(story)
    elif event.step in story.steps:
        _operate_on_step(story, event)


def _operate_on_step(story: Story, event: OperatorActed) -> None:
    step, declared = story.steps[event.step], story.saga.by_name[event.step]
    pivot = declared.kind is Kind.PIVOT
    if event.action is Action.RETRY and step.undo_begun:
        step.fresh[Direction.UNDO], step.last_undo = step.made[Direction.UNDO], None
    elif event.action is Action.RETRY:
        step.begin_anew(new_round=False)
        _ask_again(story, event.step)
    elif event.action is Action.SKIP:
        step.skipped, step.by_hand, step.open = True, True, None
        step.landed = step.landed or pivot
        step.maybe = step.maybe and declared.compensation is not None
    else:
        was_doubtful = step.maybe
        step.landed, step.maybe, step.gone, step.by_hand = False, False, True, True
        story.asked_back = story.asked_back or (pivot and was_doubtful)


def _redrive(story: Story) -> None:
    story.asked_back = story.undoing = story.deadline_noted = False
    story.deadline_from = story.clock
    in_doubt = story.pivot_may_have_landed and not story.committed
    for name, step in story.steps.items():
        kept = step.skipped or (step.landed and not step.gone) or _goes_without(story, name)
        if kept or not step.tries(Direction.FORWARD):
            continue
        if _may_go_without(story, name, in_doubt=in_doubt):
            step.excused = True
            continue
        last = step.last
        step.begin_anew(new_round=step.gone)
        if in_doubt:  # The events do not tell whether the run had turned back, so this may not run again.
            step.last = last
        _ask_again(story, name)


def _goes_without(story: Story, name: str) -> bool:
    """Whether a run that is redriven goes on without the step, as it did before."""
    if story.goes_forward(name):
        instead = story.steps[story.saga.alternatives[name]]
        tried = instead.tries(Direction.FORWARD) > 0
        return tried and (story.committed or (instead.landed and not instead.gone))
    return story.saga.by_name[name].optional and story.committed


def _may_go_without(story: Story, name: str, *, in_doubt: bool) -> bool:
    """Whether the events do not tell if the run goes on without the step.

    It does if it had not turned back when the step was given up; but not every way of turning back is told.
    """
    if story.goes_forward(name):
        return story.steps[story.saga.alternatives[name]].tries(Direction.FORWARD) == 0
    return in_doubt and story.saga.by_name[name].optional


def _roll_back(story: Story, event: RolledBack) -> None:
    story.rollbacks += 1
    story.undoing = False
    for name in story.after_savepoint(event.savepoint):
        step = story.steps[name]
        if step.made[Direction.FORWARD] or step.skipped:
            step.begin_anew(new_round=step.landed or step.gone)
            _ask_again(story, name)


def _ask_again(story: Story, name: str) -> None:
    approval = story.saga.by_name[name].approval
    if approval is not None:
        story.signals.pop(approval.signal, None)
