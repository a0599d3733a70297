"""The rules a saga definition must obey, each with the message an author sees when it is broken.

Checked in the order a reader would: names, numbers, dependencies, kinds, the pivot's place, the listing, the
stages. The first breach is raised; nothing here repairs anything.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from sagacity_engine import precedence
from sagacity_engine.errors import SagaRefused
from sagacity_engine.wire import shown

if TYPE_CHECKING:
    from sagacity_engine.retry import RetryPolicy
    from sagacity_engine.saga import Saga, Step

STEPS_MAX = 500
ARCS_MAX = 5_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
SECONDS_MAX = 10 * 366 * 86_400.0
ATTEMPTS_MAX = 1_000
COST_MAX = 1e12


def require_legal(saga: Saga) -> None:
    """Raises `SagaRefused` for the first rule the definition breaks."""
    _names(saga)
    _numbers(saga)
    _dependencies(saga)
    _kinds(saga)
    _pivot(saga)
    _listing(saga)
    _stages(saga)


def _names(saga: Saga) -> None:
    _require_name("saga", saga.name)
    if not saga.steps:
        raise SagaRefused(f"saga {saga.name!r} has no steps; give it at least one")
    if len(saga.steps) > STEPS_MAX:
        raise SagaRefused(f"saga {saga.name!r} has {len(saga.steps)} steps; the most is {STEPS_MAX}")
    seen: set[str] = set()
    for step in saga.steps:
        _require_name("step", step.name)
        if step.name in seen:
            raise SagaRefused(f"two steps are named {step.name!r}; every step needs a name of its own")
        seen.add(step.name)
    if sum(len(step.after) for step in saga.steps) > ARCS_MAX:
        raise SagaRefused(f"saga {saga.name!r} has more than {ARCS_MAX} dependencies; leave out implied ones")


def _require_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise SagaRefused(
            f"{what} name {name!r} is not usable; start with a letter or digit, "
            "then at most 127 letters, digits, '_', '-' or '.'"
        )


def _numbers(saga: Saga) -> None:
    if saga.deadline_s is not None:
        _in_range("deadline_s", saga.deadline_s, 0, SECONDS_MAX, above=True)
    for key in ("latency_cost_per_s", "failure_penalty"):
        _in_range(f"policy.{key}", getattr(saga.policy, key), 0, COST_MAX)
    for step in saga.steps:
        _step_numbers(step)


def _step_numbers(step: Step) -> None:
    where = f"step {step.name!r}: "
    _in_range(where + "start_to_close_timeout_s", step.start_to_close_timeout_s, 0, SECONDS_MAX, above=True)
    _in_range(where + "cost", step.cost, 0, COST_MAX)
    _retry_numbers(where + "retry.", step.retry)
    if (undo := step.compensation) is not None:
        where_undo = where + "compensation."
        _in_range(where_undo + "cost", undo.cost, 0, COST_MAX)
        _in_range(
            where_undo + "start_to_close_timeout_s", undo.start_to_close_timeout_s, 0, SECONDS_MAX, above=True
        )
        _retry_numbers(where_undo + "retry.", undo.retry)
    _bounds(
        where + "freedom.start_to_close_timeout_s",
        step.freedom.start_to_close_timeout_s,
        step.start_to_close_timeout_s,
        SECONDS_MAX,
    )
    _bounds(
        where + "freedom.maximum_attempts",
        step.freedom.maximum_attempts,
        step.retry.maximum_attempts,
        ATTEMPTS_MAX,
    )


def _retry_numbers(where: str, retry: RetryPolicy) -> None:
    _in_range(where + "initial_interval_s", retry.initial_interval_s, 0, SECONDS_MAX)
    _in_range(where + "backoff_coefficient", retry.backoff_coefficient, 1, 1_000)
    _in_range(where + "maximum_interval_s", retry.maximum_interval_s, 0, SECONDS_MAX)
    _in_range(where + "maximum_attempts", retry.maximum_attempts, 1, ATTEMPTS_MAX)


def _bounds(where: str, bounds: tuple[float, float] | None, own: float, most: float) -> None:
    if bounds is None:
        return
    low, high = bounds
    _in_range(where, low, 0, most, above=True)
    _in_range(where, high, 0, most, above=True)
    if not low <= own <= high:
        raise SagaRefused(
            f"{where} is [{low}, {high}] and leaves out the author's own {own}; widen the bounds to hold it"
        )


def _in_range(where: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    if not low <= value <= high or (above and value == low):  # Also what is no number at all.
        lowest = f"more than {low:g}" if above else f"at least {low:g}"
        raise SagaRefused(f"{where} is {shown(value)}; it must be {lowest} and at most {high:g}")


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
    breach = precedence.listing_breach(saga.names, saga.arcs)
    if breach is not None:
        step, before = breach
        raise SagaRefused(f"step {step!r} is listed before {before!r}, which must precede it; swap them")


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
