"""What the events so far say about a step being done with: may others go on, or start in its place?"""

from __future__ import annotations

from sagacity_engine.events import AttemptFailed, Direction
from sagacity_engine.testing.checker.step_story import Unhappy
from sagacity_engine.testing.checker.story import Story

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


def is_settled(story: Story, name: str) -> bool:
    """Whether what needs the step may start, for all that the events can tell."""
    step, declared = story.steps[name], story.saga.by_name[name]
    if step.open is not None:
        return False
    if step.skipped or (step.landed and not step.gone):
        return True
    if declared.optional or story.goes_forward(name):
        return step.made[FORWARD] > 0 and no_undo_owed(story, name)
    if declared.alternative_to:
        replaced = story.steps[declared.alternative_to]
        return step.tries(FORWARD) == 0 and replaced.open is None and (replaced.landed or replaced.skipped)
    return False


def refused_but_undone(story: Story, name: str) -> bool:
    """Whether the step was refused, and its compensation is declared to run all the same."""
    undo = story.saga.by_name[name].compensation
    step = story.steps[name]
    return (
        undo is not None
        and undo.after_failure
        and step.last is not None
        and not (step.maybe or step.landed or step.gone or step.skipped)
    )


def no_undo_owed(story: Story, name: str) -> bool:
    """Whether what the step may have left was taken back, can not be, or was tried often enough."""
    if not (story.may_stand(name) or refused_but_undone(story, name)):
        return True
    return story.saga.by_name[name].compensation is None or undo_exhausted(story, name)


def undo_exhausted(story: Story, name: str) -> bool:
    """Whether the step's undo has failed for good."""
    undo, step = story.saga.by_name[name].compensation, story.steps[name]
    if undo is None or step.last_undo is None or step.gone or step.open is not None:
        return False
    return is_final(step.last_undo, undo.retry.non_retryable_error_types) or (
        step.tries(UNDO) >= undo.retry.maximum_attempts
    )


def is_final(last: Unhappy, non_retryable: tuple[str, ...]) -> bool:
    """Whether the participant's refusal forbids to try again, whatever else allows it."""
    return isinstance(last, AttemptFailed) and (last.terminal or last.error_type in non_retryable)
