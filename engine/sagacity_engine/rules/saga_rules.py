"""The rules a saga definition must obey, each with the message an author sees when it is broken.

Checked in the order a reader would: names, numbers, references, dependencies, kinds, the pivot's place,
alternatives, the listing, the stages, the locks, then what else each step may be. The first breach is raised;
nothing here repairs anything.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from sagacity_engine import precedence
from sagacity_engine.errors import SagaRefused
from sagacity_engine.references import referenced_steps
from sagacity_engine.rules.number_rules import (
    ATTEMPTS_MAX,
    COST_MAX,
    SECONDS_MAX,
    bounds,
    in_range,
    retry_numbers,
    whole_in_range,
)
from sagacity_engine.rules.reference_rules import require_legal_references
from sagacity_engine.rules.step_rules import require_legal_alternatives, require_legal_steps

if TYPE_CHECKING:
    from sagacity_engine.saga import Saga, Step

STEPS_MAX = 500
ARCS_MAX = 5_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
LOCKS_MAX = 16
LOCK_KEY_MAX = 256
RETRY_BUDGET_MAX = 1_000_000
ROLLBACKS_MAX = 100


def require_legal(saga: Saga) -> None:
    """Raises `SagaRefused` for the first rule the definition breaks."""
    _names(saga)
    _numbers(saga)
    require_legal_references(saga)
    _dependencies(saga)
    _kinds(saga)
    _pivot(saga)
    require_legal_alternatives(saga)
    _listing(saga)
    _stages(saga)
    _locks(saga)
    require_legal_steps(saga)


def _names(saga: Saga) -> None:
    _require_name("saga", saga.name)
    if not saga.steps:
        raise SagaRefused(f"saga {saga.name!r} has no steps; give it at least one")
    if (count := _steps_within(saga)) > STEPS_MAX:
        also = " with its sub-sagas" if count > len(saga.steps) else ""
        raise SagaRefused(f"saga {saga.name!r} has {count} steps{also}; the most is {STEPS_MAX}")
    seen: set[str] = set()
    for step in saga.steps:
        _require_name("step", step.name)
        if step.name in seen:
            raise SagaRefused(f"two steps are named {step.name!r}; every step needs a name of its own")
        seen.add(step.name)
    if sum(len(step.after) for step in saga.steps) > ARCS_MAX:
        raise SagaRefused(f"saga {saga.name!r} has more than {ARCS_MAX} dependencies; leave out implied ones")


def _steps_within(saga: Saga) -> int:
    inner = (step.sub_saga.saga for step in saga.steps if step.sub_saga is not None)
    return len(saga.steps) + sum(map(_steps_within, inner))


def _require_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise SagaRefused(
            f"{what} name {name!r} is not usable; start with a letter or digit, "
            "then at most 127 letters, digits, '_', '-' or '.'"
        )


def _numbers(saga: Saga) -> None:
    if saga.deadline_s is not None:
        in_range("deadline_s", saga.deadline_s, 0, SECONDS_MAX, above=True)
    for key in ("latency_cost_per_s", "failure_penalty"):
        in_range(f"policy.{key}", getattr(saga.policy, key), 0, COST_MAX)
    in_range("freedom.launch.wait_s_max", saga.freedom.launch.wait_s_max, 0, SECONDS_MAX)
    whole_in_range("rollbacks_max", saga.rollbacks_max, 0, ROLLBACKS_MAX)
    if saga.retry_budget is not None:
        whole_in_range("retry_budget", saga.retry_budget, 0, RETRY_BUDGET_MAX)
    for step in saga.steps:
        _step_numbers(step)


def _step_numbers(step: Step) -> None:
    where = f"step {step.name!r}: "
    in_range(where + "start_to_close_timeout_s", step.start_to_close_timeout_s, 0, SECONDS_MAX, above=True)
    in_range(where + "cost", step.cost, 0, COST_MAX)
    retry_numbers(where + "retry.", step.retry)
    if (undo := step.compensation) is not None:
        where_undo = where + "compensation."
        in_range(where_undo + "cost", undo.cost, 0, COST_MAX)
        in_range(
            where_undo + "start_to_close_timeout_s", undo.start_to_close_timeout_s, 0, SECONDS_MAX, above=True
        )
        retry_numbers(where_undo + "retry.", undo.retry)
    bounds(
        where + "freedom.start_to_close_timeout_s",
        step.freedom.start_to_close_timeout_s,
        step.start_to_close_timeout_s,
        SECONDS_MAX,
    )
    bounds(
        where + "freedom.maximum_attempts",
        step.freedom.maximum_attempts,
        step.retry.maximum_attempts,
        ATTEMPTS_MAX,
    )
    bounds(where + "freedom.hedge_delay_s", step.freedom.hedge_delay_s, None, SECONDS_MAX)


def _dependencies(saga: Saga) -> None:
    known = set(saga.names)
    for step in saga.steps:
        for before in step.after:
            if before not in known:
                raise SagaRefused(
                    f"step {step.name!r} is after {before!r}, which is no step of this saga; "
                    f"the steps are {', '.join(saga.names)}"
                )
        if len(set(step.after)) != len(step.after):
            raise SagaRefused(f"step {step.name!r} names a step twice in 'after'; name each once")
    circle = precedence.cycle(saga.names, {step.name: step.after for step in saga.steps})
    if circle:
        path = " after ".join((*circle, circle[0]))
        raise SagaRefused(f"the dependencies run in a circle: {path}; remove one of these")


def _kinds(saga: Saga) -> None:
    pivots = [step.name for step in saga.steps if step.kind == "pivot"]
    if len(pivots) > 1:
        raise SagaRefused(f"steps {' and '.join(map(repr, pivots))} are both pivots; a saga has at most one")
    for step in saga.steps:
        if step.compensation is not None and step.kind in ("pivot", "read_only"):
            raise SagaRefused(
                f"step {step.name!r} is {step.kind} and has a compensation; remove the compensation, "
                "or make the step compensatable"
            )
        if step.optional and step.kind == "pivot":
            raise SagaRefused(f"step {step.name!r} is the pivot and optional; make it one or the other")


def _pivot(saga: Saga) -> None:
    pivot = saga.pivot
    if pivot is None:
        return
    masks = saga.data_ancestors
    pivot_bit = 1 << saga.names.index(pivot.name)
    for step in saga.steps:
        if step.kind in ("compensatable", "read_only") and masks[step.name] & pivot_bit:
            raise SagaRefused(
                f"step {step.name!r} is {step.kind} but follows the pivot {pivot.name!r}, after which "
                "nothing is undone; move it before the pivot, or make it retriable"
            )
        if (
            step.kind == "retriable"
            and step.compensation is None
            and masks[pivot.name] & (1 << saga.names.index(step.name))
        ):
            raise SagaRefused(
                f"step {step.name!r} is retriable, comes before the pivot {pivot.name!r} and has no "
                "compensation; give it one, or let it follow the pivot"
            )


def _listing(saga: Saga) -> None:
    if circle := precedence.cycle(saga.names, saga.arcs):
        path = " after ".join((*circle, circle[0]))
        raise SagaRefused(
            f"with what the pivot and alternatives add, the order runs in a circle: {path}; let an "
            "alternative need only what its step needs, and give a retriable step before the pivot a "
            "compensation"
        )
    breach = precedence.listing_breach(saga.names, saga.arcs)
    if breach is not None:
        step, before = breach
        stands_in = saga.by_name[before].alternative_to
        also = f", the alternative to {stands_in!r}" if stands_in and stands_in != step else ""
        raise SagaRefused(
            f"step {step!r} is listed before {before!r}{also}, which must precede it; swap them"
        )


def _stages(saga: Saga) -> None:
    if not saga.stages:
        return
    staged = [name for stage in saga.stages for name in stage]
    if sorted(staged) != sorted(saga.names):
        counts = Counter(staged)
        odd = sorted(set(staged) ^ set(saga.names)) or sorted(n for n in counts if counts[n] > 1)
        raise SagaRefused(f"stages must hold every step exactly once; look at {', '.join(map(repr, odd))}")
    done: set[str] = set()
    arcs = saga.arcs
    for stage in saga.stages:
        for name in stage:
            if missing := arcs[name] - done:
                raise SagaRefused(
                    f"stages start {name!r} together with or before {min(missing)!r}, which must precede it; "
                    "move it to a later stage"
                )
        done.update(stage)


def _locks(saga: Saga) -> None:
    if len(saga.locks) > LOCKS_MAX:
        raise SagaRefused(f"saga {saga.name!r} has {len(saga.locks)} locks; the most is {LOCKS_MAX}")
    keys = [lock.key for lock in saga.locks]
    for key in keys:
        if not key:
            raise SagaRefused("a lock's key is empty; name the resource, such as 'room-${input.room}'")
        if len(key) > LOCK_KEY_MAX:
            raise SagaRefused(
                f"the lock {key[:60]!r}... has {len(key)} characters; the most is {LOCK_KEY_MAX}"
            )
        if keys.count(key) > 1:
            raise SagaRefused(f"the lock {key!r} is declared twice; once is enough")
        if steps := referenced_steps(key, f"the lock {key!r}"):
            raise SagaRefused(
                f"the lock {key!r} refers to step {steps[0]!r}; locks are taken before any step, so refer "
                "to the input only"
            )
