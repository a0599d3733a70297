"""From the search's picks back to a plan: an order, a choice per step, strategies only where they help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sagacity_engine.plan import Plan, StepPlan
from sagacity_optimizer.options import Effects, StepOptions
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.strategies import gains_by_joining, on_failure


def built_plan(
    problem: Problem,
    table: Sequence[StepOptions],
    order: Sequence[int],
    picks: Sequence[int],
    effects: Sequence[Effects],
    *,
    joined: bool,
) -> Plan:
    """The plan that runs the steps in `order` with the picked options.

    In the author's order the steps keep their waits; in another each one waits for the saga's arcs and for
    the step before it.
    """
    author, arcs, names = problem.structure.author, problem.saga.arcs, problem.saga.names
    own = author.by_name
    authors_order = list(order) == list(range(len(order)))
    steps: list[StepPlan] = []
    previous: set[str] = set()
    for i, effect in zip(order, effects, strict=True):
        name, choice = names[i], table[i].choice(picks[i])
        together = joined and not effect.committed and gains_by_joining(problem, i, effect)
        steps.append(
            StepPlan(
                name=name,
                after=own[name].after if authors_order else tuple(sorted(arcs[name] | previous)),
                start_to_close_timeout_s=choice.timeout_s,
                retry=replace(own[name].retry, maximum_attempts=choice.attempts),
                on_failure=on_failure(problem, i, choice, together=together),
            )
        )
        previous = {name}
    if authors_order:
        steps.sort(key=lambda step: author.names.index(step.name))
    return Plan(saga=author.saga, definition_hash=author.definition_hash, steps=tuple(steps))
