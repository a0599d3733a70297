"""What must hold when a person, a clock or a savepoint steers the run: who and why, and not out of place."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import (
    Action,
    CancelRequested,
    DeadlineReached,
    OperatorActed,
    RolledBack,
    SignalReceived,
    Status,
)
from sagacity_engine.testing.checker.settled_story import refused_but_undone
from sagacity_engine.testing.checker.start_rules import CLOSE_S
from sagacity_engine.testing.checker.story import Story

_ENDS: dict[Action, tuple[Status, ...]] = {
    Action.RETRY: (Status.NEEDS_ATTENTION,),
    Action.SKIP: (Status.NEEDS_ATTENTION,),
    Action.RESOLVE: (Status.NEEDS_ATTENTION,),
    Action.ABANDON: (Status.NEEDS_ATTENTION,),
    Action.REDRIVE: (Status.NEEDS_ATTENTION, Status.COMPENSATED),
    Action.UNDO: (Status.COMPLETED,),
    Action.PAUSE: (),
    Action.RESUME: (),
}
"""Which ends of a run an action may re-open."""


def operator_breaches(story: Story, event: OperatorActed) -> Iterator[str]:
    """Breaches by what a person, or the run above, decided."""
    if not event.who.strip():
        yield f"I1 nobody signed the {event.action.value} of the run"
    if event.action is Action.ABANDON and not event.why.strip():
        yield "I1 the run was abandoned without a reason"
    if story.ended is not None and story.ended.status not in _ENDS[event.action]:
        yield f"I1 {event.action.value} of a run that had ended {story.ended.status.value}"
    if story.ended is None and event.action in (Action.REDRIVE, Action.UNDO):
        yield f"I1 {event.action.value} of a run that had not ended"
    paused = story.paused_at is not None
    if event.action in (Action.PAUSE, Action.RESUME) and paused != (event.action is Action.RESUME):
        yield f"I1 {event.action.value} of a run that was {'' if paused else 'not '}paused"
    if event.action is Action.UNDO and story.committed:
        yield "I5 a run was taken back after its pivot"
    if event.action in (Action.RETRY, Action.SKIP, Action.RESOLVE):
        yield from _step_breaches(story, event)


def _step_breaches(story: Story, event: OperatorActed) -> Iterator[str]:
    step = story.steps.get(event.step)
    if step is None:
        yield f"I8 {event.action.value} of {event.step!r}, which is no step"
        return
    if story.in_flight(event.step):
        yield f"I9 {event.action.value} of step {event.step!r} while it was in flight"
    if event.action is Action.SKIP and step.gone:
        yield f"I2 step {event.step!r} was skipped after it was undone"
    if event.action is not Action.RESOLVE and story.undoing and not step.undo_begun:
        yield f"I5 {event.action.value} of step {event.step!r} while the run was taken back"


def wish_breaches(story: Story, event: CancelRequested | SignalReceived) -> Iterator[str]:
    """Breaches by somebody's wish."""
    if isinstance(event, CancelRequested):
        if not event.who.strip():
            yield "I1 nobody signed the cancellation"
        return
    awaited = {step.approval.signal for step in story.saga.steps if step.approval is not None}
    if event.name not in awaited:
        yield f"I8 signal {event.name!r} is awaited by no step"


def deadline_breaches(story: Story, event: DeadlineReached) -> Iterator[str]:
    """Breaches by noting the deadline."""
    del event
    deadline_s = story.saga.deadline_s
    if deadline_s is None or story.clock < story.deadline_from + deadline_s - CLOSE_S:
        yield "I10 the deadline was noted before it passed"
    if story.deadline_noted:
        yield "I10 the deadline was noted twice"
    if story.paused_at is not None:
        yield "I10 the deadline was noted while the run was paused"


def rollback_breaches(story: Story, event: RolledBack) -> Iterator[str]:
    """Breaches by going forward again from a savepoint."""
    declared = story.saga.by_name.get(event.savepoint)
    if declared is None or not declared.savepoint or not story.steps[event.savepoint].landed:
        yield f"I3 the run went back to {event.savepoint!r}, which is no savepoint that it reached"
        return
    if story.pivot_may_have_landed:
        yield "I5 the run went back to a savepoint though the pivot may have taken effect"
    if story.rollbacks >= story.saga.rollbacks_max:
        yield f"I6 the run went back to a savepoint more than {story.saga.rollbacks_max} times"
    if story.asked_back:
        yield "I5 the run went forward from a savepoint though it was to turn back"
    if story.paused_at is not None:
        yield "I10 the run went back to a savepoint while it was paused"
    later = [
        step.name
        for step in story.saga.steps
        if step.savepoint
        and story.steps[step.name].rank > story.steps[event.savepoint].rank
        and not _failed_before(story, step.name)
    ]
    yield from (
        f"I4 the run went back beyond savepoint {name!r}"
        for name in later
        if story.steps[name].landed and not story.steps[name].gone
    )
    for name in sorted(story.after_savepoint(event.savepoint)):
        if story.may_stand(name) or refused_but_undone(story, name):
            yield f"I3 step {name!r} was begun anew though its effect may stand"
        if story.in_flight(name):
            yield f"I9 step {name!r} was begun anew while it was in flight"


def _failed_before(story: Story, savepoint: str) -> bool:
    """Whether what comes before the savepoint failed since, so that going back there would not help."""
    before = set(story.steps) - story.after_savepoint(savepoint)
    return any(story.steps[name].last is not None and not story.steps[name].landed for name in before)


def reopens(event: object) -> bool:
    """Whether the event may follow the end of the run."""
    return isinstance(event, OperatorActed) and event.action not in (Action.PAUSE, Action.RESUME)
