"""What must hold when a run ends: each status is a promise about what was done and what may still stand."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import RunEnded, Status
from sagacity_engine.testing.checker.settled_story import FORWARD, refused_but_undone, undo_exhausted
from sagacity_engine.testing.checker.story import Story


def end_breaches(story: Story, event: RunEnded) -> Iterator[str]:
    """Breaches by an end of the run."""
    for name in story.steps:
        if story.in_flight(name):
            yield f"I1 step {name!r} was in flight at the end"
    if story.paused_at is not None and not story.abandoned:
        yield "I10 the run ended while it was paused"
    if story.abandoned != (event.status is Status.ABANDONED):
        abandoned = "abandoned" if story.abandoned else "not abandoned"
        yield f"I1 the run ended {event.status.value} though it was {abandoned}"
        return
    match event.status:
        case Status.COMPLETED:
            yield from _completed(story)
        case Status.COMPENSATED:
            yield from _compensated(story)
        case Status.NEEDS_ATTENTION:
            yield from _attended(story, event)
        case Status.ABANDONED:
            pass
        case Status.RUNNING | Status.COMPENSATING:
            yield f"I1 {event.status.value} is no end"


def _completed(story: Story) -> Iterator[str]:
    if story.asked_back and not story.committed:
        yield "I5 the run completed though it was to turn back"
    for name in story.steps:
        if not _done(story, name):
            yield f"I1 step {name!r} did not succeed though the run is COMPLETED"
        elif not _dealt_with(story, name):
            yield f"I3 step {name!r} may stand though it was given up"


def _done(story: Story, name: str) -> bool:
    """Whether the step succeeded, or the run may be complete without it."""
    step, declared = story.steps[name], story.saga.by_name[name]
    if step.skipped or (step.landed and not step.gone):
        return True
    if declared.optional:
        return step.made[FORWARD] > 0
    if story.goes_forward(name):
        instead = story.steps[story.saga.alternatives[name]]
        return instead.skipped or (instead.landed and not instead.gone)
    if declared.alternative_to:
        replaced = story.steps[declared.alternative_to]
        return step.tries(FORWARD) == 0 and (replaced.skipped or replaced.landed)
    return False


def _dealt_with(story: Story, name: str) -> bool:
    """Whether a step that the run went on without has left nothing that its compensation could take back."""
    step = story.steps[name]
    if step.landed or step.skipped or story.saga.by_name[name].compensation is None:
        return True
    return not (story.may_stand(name) or refused_but_undone(story, name))


def _compensated(story: Story) -> Iterator[str]:
    if story.committed:
        yield "I5 the run was compensated after its pivot"
    if not story.asked_back and all(step.last is None for step in story.steps.values()):
        yield "I1 the run was compensated though nothing failed and nobody asked"
    for name in story.steps:
        if story.may_stand(name):
            yield f"I3 step {name!r} may stand though the run is COMPENSATED"
        elif refused_but_undone(story, name):
            yield f"I3 step {name!r} was refused and not undone, which its compensation asks for"


def _attended(story: Story, event: RunEnded) -> Iterator[str]:
    if not event.reason or event.step not in story.steps:
        yield "I1 the run needs attention and does not say why, or for which step"
        return
    step = story.steps[event.step]
    stuck = undo_exhausted(story, event.step) or (story.may_stand(event.step) and not step.landed)
    stands = story.may_stand(event.step) and story.saga.by_name[event.step].compensation is None
    given_up = story.committed and not step.landed and (step.last is not None or step.gone)
    if not (stuck or stands or given_up):
        yield f"I1 step {event.step!r} needs no attention"
