"""What must hold when an undo's intent is written: what is undone, when, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sagacity_engine.events import AttemptStarted, RunEnded, Status
from sagacity_engine.strategy import Strategy
from sagacity_engine.testing.checker.settled_story import (
    UNDO,
    refused_but_undone,
    undo_exhausted,
)
from sagacity_engine.testing.checker.step_story import strategy_after
from sagacity_engine.testing.checker.story import Story


def undo_breaches(story: Story, event: AttemptStarted) -> Iterator[str]:
    """Breaches by taking a step back."""
    name, step = event.step, story.steps[event.step]
    if story.saga.by_name[name].compensation is None:
        yield f"I3 step {name!r} has no compensation and was undone"
    if step.gone:
        yield f"I3 step {name!r} was undone twice"
    elif not (step.landed or step.maybe or refused_but_undone(story, name)):
        yield f"I3 step {name!r} took no effect and was undone"
    if not is_stray(story, name):
        yield from _backward_breaches(story, name)


def is_stray(story: Story, name: str) -> bool:
    """Whether the run goes forward without the step, or did when its undo began, and takes only it back."""
    if story.steps[name].undo_begun:
        return story.steps[name].stray
    if (story.asked_back or story.undoing) and not story.committed:
        return False
    optional = story.saga.by_name[name].optional and not story.steps[name].landed
    return optional or story.goes_forward(name)


def _backward_breaches(story: Story, name: str) -> Iterator[str]:
    if story.pivot_may_have_landed:
        yield f"I5 step {name!r} was undone though the pivot may have taken effect"
    for other, step in story.steps.items():
        if story.in_flight(other) and step.open is not None and step.open.direction is not UNDO:
            yield f"I5 step {name!r} was undone while {other!r} was in flight"
    for later in story.needed_by[name]:
        if owes_undo(story, later) and not undo_exhausted(story, later):
            yield f"I4 step {name!r} was undone before {later!r}, which depends on it"


def owes_undo(story: Story, name: str) -> bool:
    """Whether the step has something to take back, and can."""
    if story.saga.by_name[name].compensation is None:
        return False
    return story.may_stand(name) or refused_but_undone(story, name)


class UndoOrder:
    """Watches one turn back, whose strategy is known only at its end: was it strict reverse start order?"""

    def __init__(self) -> None:
        self._ranks: list[tuple[str, int]] = []
        self._beside: list[tuple[str, str]] = []

    def enter(self, story: Story, event: AttemptStarted) -> None:
        """Notes an undo about to start; `story` has not entered it yet."""
        if is_stray(story, event.step):
            return
        if story.steps[event.step].tries(UNDO) == 0:
            self._ranks.append((event.step, story.steps[event.step].rank))
        self._beside += [
            (event.step, other)
            for other, step in story.steps.items()
            if other != event.step and step.tries(UNDO) and not step.gone and not undo_exhausted(story, other)
        ]

    def breaches(self, story: Story, event: RunEnded) -> Iterator[str]:
        """Breaches of a run that turned back because of one step, and ended so."""
        cause = event.step
        last = story.steps[cause].last if cause in story.steps else None
        if last is None or event.status is not Status.COMPENSATED or story.people_acted or story.rollbacks:
            return
        if strategy_after(story.plan.by_name[cause], last) is not Strategy.STANDARD_COMPENSATION:
            return
        for name, other in self._beside:
            yield f"I4 step {name!r} was undone beside {other!r} against STANDARD_COMPENSATION"
        for (name, rank), (later, after) in pairwise(self._ranks):
            if rank < after:
                yield f"I4 step {name!r} was undone before {later!r}, which was started later"
