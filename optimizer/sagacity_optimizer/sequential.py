"""Exact recursion for plans that run one step at a time.

While nothing has failed for good the only history is "every earlier step went on", so one pass over the
order suffices: step k is reached with the product of the earlier steps' probabilities to go on, and if it
ends the run there, the effects to undo are those of the earlier steps (`rollback`). `Walk` keeps the books;
`deadline` uses it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sagacity_engine.plan import Plan
from sagacity_optimizer.evaluation import Evaluation, StepEvaluation
from sagacity_optimizer.outcomes import ByClass, Flags, StepLaw, parallel_flags
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.rollback import Done, Rollback


class Ends:
    """Expectations, added up over the ways a run can end."""

    def __init__(self) -> None:
        self.success = self.compensated = self.attention = self.deadline = 0.0
        self.money = self.undo_money = self.wasted = self.seconds = 0.0


@dataclass(slots=True)
class Booking:
    """One step's part in the run; every number counts how often the step is reached."""

    i: int
    reach: float
    attempts: float
    successes: float
    seconds: float
    after_money: float = 0.0  # of the undos its final failure leads to
    after_s: float = 0.0
    stops: float = 0.0  # P(the run ends because of it)
    fails: float = 0.0  # P(it finally fails)


class Walk:
    """The books of a run that goes step by step."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.ends, self.done = Ends(), Done(problem)
        self.clean = 1.0  # P(no undo of a left-out step has failed)
        self.steps: list[StepEvaluation] = []

    def leave_out(self, booking: Booking, tainted: float) -> None:
        """An optional step fails for good; where an effect may exist (`tainted`) it is undone at once."""
        undo = self.problem.undos[booking.i]
        booking.after_money += tainted * undo.money
        booking.after_s += tainted * undo.seconds
        self.ends.wasted += tainted * undo.money
        if booking.reach > 0:
            self.clean *= 1 - tainted / booking.reach * undo.failure

    def turn_back(self, booking: Booking, refused: ByClass, tainted: ByClass, *, side_by_side: Flags) -> None:
        """The run ends at this step before the pivot has succeeded; an uncertain pivot needs attention."""
        back = Rollback(self.done, booking.i, refused, tainted, side_by_side=side_by_side)
        stops = sum(refused) + sum(tainted)
        booking.stops += stops
        booking.after_money += back.money
        booking.after_s += back.seconds
        compensated = self.clean * back.clean
        self.ends.compensated += compensated
        self.ends.attention += stops - compensated
        self.ends.wasted += back.wasted

    def stop_committed(self, booking: Booking, failure: float) -> None:
        """The run stops at this step after the pivot: nothing is undone."""
        booking.stops += failure
        self.ends.attention += failure

    def book(self, booking: Booking) -> None:
        """Adds a finished booking to the sums."""
        problem, ends = self.problem, self.ends
        step, reach = problem.steps[booking.i], booking.reach
        money = booking.attempts * step.cost
        ends.wasted += (booking.attempts - booking.successes) * step.cost
        ends.money += money + booking.after_money
        ends.undo_money += booking.after_money
        ends.seconds += booking.seconds + booking.after_s
        after = booking.after_money + problem.per_s * booking.after_s + booking.stops * problem.penalty
        per_start = 1 / reach if reach > 0 else 0.0
        self.steps.append(
            StepEvaluation(
                name=step.name,
                start_probability=reach,
                failure_probability=booking.fails * per_start,
                cost=money + problem.per_s * booking.seconds + after,
                seconds=booking.seconds * per_start,
                attempts=booking.attempts * per_start,
                rollback_cost=after / booking.stops if booking.stops > 0 else 0.0,
            )
        )

    def arrive(self, reach: float) -> None:
        """The run gets to its end; an optional step's failed undo still needs attention."""
        late = reach * (1 - self.clean)
        self.ends.success += reach - late
        self.ends.attention += late
        if late > 0 and self.steps:  # that penalty is no step's alone: it goes to the last one
            last = self.steps[-1]
            self.steps[-1] = replace(last, cost=last.cost + late * self.problem.penalty)


def evaluated(plan: Plan, problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> Evaluation:
    """The evaluation of a plan that runs its steps one at a time in `order`, ignoring the deadline."""
    walk, reach = Walk(problem), 1.0
    pivot = problem.structure.pivot
    committed = False
    for step_plan, i in zip(plan.steps, order, strict=True):
        if committed:
            reach = carry_committed(walk, i, laws[i], reach)
        else:
            reach = _carry(walk, i, laws[i], reach, parallel_flags(step_plan.on_failure))
        committed = committed or i == pivot
    walk.arrive(reach)
    return finished(walk.ends, problem, walk.steps, worst_s=worst_case_s(problem, order, laws))


def _carry(walk: Walk, i: int, law: StepLaw, reach: float, side_by_side: Flags) -> float:
    """Books a step before the pivot; returns the probability that the run goes on past it."""
    booking = _booking(i, law, reach)
    if walk.problem.steps[i].optional:
        walk.leave_out(booking, reach * sum(law.tainted))
    else:
        walk.turn_back(
            booking, _scaled(law.refused, reach), _scaled(law.tainted, reach), side_by_side=side_by_side
        )
    walk.book(booking)
    if i != walk.problem.structure.pivot and booking.stops < reach:
        walk.done.add(i, law.success if walk.problem.steps[i].optional else 1.0)
    return max(0.0, reach - booking.stops)


def carry_committed(walk: Walk, i: int, law: StepLaw, reach: float) -> float:
    """Books a step after the pivot; returns the probability that the run goes on past it."""
    booking = _booking(i, law, reach)
    if walk.problem.steps[i].optional:
        walk.leave_out(booking, reach * sum(law.tainted))
    else:
        walk.stop_committed(booking, reach * law.failure)
    walk.book(booking)
    return max(0.0, reach - booking.stops)


def _booking(i: int, law: StepLaw, reach: float) -> Booking:
    return Booking(
        i,
        reach,
        reach * law.attempts,
        reach * law.success,
        reach * law.seconds,
        fails=reach * law.failure,
    )


def _scaled(masses: ByClass, by: float) -> ByClass:
    a, b, c, d = masses
    return a * by, b * by, c * by, d * by


def worst_case_s(problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> float:
    """The longest forward run: every attempt at its timeout, every wait at its ceiling."""
    return sum(worst_step_s(problem, i, laws[i]) for i in order)


def worst_step_s(problem: Problem, i: int, law: StepLaw) -> float:
    """The longest one step can take to settle; an optional one may have to be undone first."""
    return law.worst_s + (problem.undos[i].worst_s if problem.steps[i].optional else 0.0)


def finished(
    ends: Ends, problem: Problem, steps: Sequence[StepEvaluation], *, worst_s: float, error: float = 0.0
) -> Evaluation:
    """The evaluation that the sums in `ends` amount to."""
    return Evaluation(
        expected_cost=ends.money + problem.per_s * ends.seconds + problem.penalty * (1 - ends.success),
        success_probability=ends.success,
        compensated_probability=ends.compensated,
        attention_probability=ends.attention,
        latency_s_mean=ends.seconds,
        wasted_cost=ends.wasted,
        undo_cost=ends.undo_money,
        worst_case_s=worst_s,
        deadline_probability=ends.deadline,
        error=error,
        steps=tuple(steps),
    )
