"""Scripts made from a definition: everything goes well, or one thing goes wrong, once for every step.

Each generator yields the step's name with its script, the steps of inner sagas included; approvals and steps
that are sagas call nobody, so nothing goes wrong with them by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import Direction
from sagacity_engine.parts import Kind
from sagacity_engine.rules.number_rules import SECONDS_MAX
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.services import SUCCESS, Script
from sagacity_engine.virtual.calls import Reply

REFUSED = Reply(duration_s=1.0, error_type="Refused", failure_class=FailureClass.PERMANENT, terminal=True)
DOWN = Reply(duration_s=1.0, error_type="Down", failure_class=FailureClass.TRANSIENT)
LOST = Reply(duration_s=1.0, lost=True)
LATE = Reply(duration_s=2 * SECONDS_MAX)
CANNOT_TELL = Reply(duration_s=1.0)


def calling_steps(saga: Saga) -> Iterator[tuple[Saga, Step]]:
    """The steps that call a participant, each with the saga it belongs to; those of inner sagas too."""
    for step in saga.steps:
        if step.sub_saga is not None:
            yield from calling_steps(step.sub_saga.saga)
        elif step.approval is None:
            yield saga, step


def happy_path(saga: Saga) -> Script:
    """Everybody does what is asked, after one second."""
    return {(step.name, Direction.FORWARD): (SUCCESS,) for _, step in calling_steps(saga)}


def fail_at_every_step(saga: Saga) -> Iterator[tuple[str, Script]]:
    """Each step in turn is refused, whenever it is asked."""
    for _, step in calling_steps(saga):
        yield step.name, {(step.name, Direction.FORWARD): (DOWN,)}


def time_out_at_every_step(saga: Saga) -> Iterator[tuple[str, Script]]:
    """Each step in turn never answers, and took effect all the same."""
    for _, step in calling_steps(saga):
        yield step.name, {(step.name, Direction.FORWARD): (LATE,), **_blind(step)}


def unknown_at_every_step(saga: Saga) -> Iterator[tuple[str, Script]]:
    """Each step in turn takes effect and its answer is lost; nor can its probe tell."""
    for _, step in calling_steps(saga):
        yield step.name, {(step.name, Direction.FORWARD): (LOST,), **_blind(step)}


def compensation_failure_at_every_step(saga: Saga) -> Iterator[tuple[str, Script]]:
    """Each step with a compensation in turn: a later step turns the run back, and its undo is refused.

    Where nothing required follows the step, it is its own unknown outcome that turns the run back.
    """
    for owner, step in calling_steps(saga):
        if step.compensation is None or owner.follows_pivot(step.name):
            continue
        trigger = _later(owner, step)
        forward = {(step.name, Direction.FORWARD): (LOST,), **_blind(step)}
        if trigger is not None:
            forward = {(trigger.name, Direction.FORWARD): (REFUSED,)}
        yield step.name, {**forward, (step.name, Direction.UNDO): (DOWN,)}


def _blind(step: Step) -> Script:
    return {} if step.probe is None else {(step.name, Direction.PROBE): (CANNOT_TELL,)}


def _later(saga: Saga, step: Step) -> Step | None:
    """A step that starts after `step` in the author's plan and whose refusal turns the run back."""
    stage_of = {name: place for place, stage in enumerate(saga.stages) for name in stage}
    after = saga.steps[saga.names.index(step.name) + 1 :]
    for other in after:
        replaceable = other.alternative_to or other.name in saga.alternatives
        calls = other.approval is None and other.sub_saga is None
        later = stage_of.get(other.name, 1) > stage_of.get(step.name, 0)
        if calls and later and not replaceable and not other.optional and not saga.follows_pivot(other.name):
            return other
        if other.kind is Kind.PIVOT:
            break
    return None
