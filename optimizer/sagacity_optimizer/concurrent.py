"""Plans in which steps run side by side: sampled runs, split so that completion is exact.

Whether a run completes does not depend on timing, so its probability P (the product of the steps' own) is
known in closed form. Two sets of columns are sampled: runs in which every step goes on, which count P
together, and runs in which at least one fails for good, which count 1 - P; the combination of failing steps
comes from its exact conditional law. Every step then lives one life (`timelines`), all start times follow,
and the earliest final failure before the pivot (or the saga's deadline) turns the run back: attempts in
flight settle, backing-off steps give up, and what exists is undone, one at a time or along the longest
reversed dependency chain. The deadline makes completion depend on timing too; then the split stays, but is
no longer exact.

Seeded, hence deterministic; `error` is the standard error of the expected cost, about 1 to 2 % of it. One
corner is simplified: a pivot whose attempt in flight succeeds after a turn back wins, and the run is then
counted as if the deadline had not passed, or as needing attention where another step had failed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagacity_engine.plan import Plan
from sagacity_optimizer.evaluation import Evaluation, StepEvaluation
from sagacity_optimizer.outcomes import StepLaw, parallel_flags
from sagacity_optimizer.problem import Floats, Problem
from sagacity_optimizer.sequential import Ends, finished, worst_step_s
from sagacity_optimizer.timelines import Bools, Chain, Ints, Lives, Moment
from sagacity_optimizer.undo_times import COLUMNS

SEED = 7
GOING_ON = 512  # columns in which every step goes on
FAILING = 2_048  # columns in which at least one fails for good
NOBODY = -1


def evaluated(plan: Plan, problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> Evaluation:
    """The evaluation of any legal plan by sampled runs."""
    completes = float(np.prod([1.0 if problem.steps[i].optional else 1 - laws[i].failure for i in order]))
    generator = np.random.default_rng((SEED, len(order)))
    tally = _Tally(problem, len(order))
    if completes > 0:
        fails = np.zeros((len(order), GOING_ON), dtype=bool)
        tally.add(_Runs(plan, problem, order, laws, fails=fails, generator=generator), completes)
    if completes < 1:
        fails = _failing(problem, order, laws, generator)
        tally.add(_Runs(plan, problem, order, laws, fails=fails, generator=generator), 1 - completes)
    return tally.evaluation(plan, order, laws)


def _failing(
    problem: Problem, order: Sequence[int], laws: Sequence[StepLaw], generator: np.random.Generator
) -> Bools:
    """Which steps would fail for good, per column, given that at least one does."""
    odds = np.array([0.0 if problem.steps[i].optional else laws[i].failure for i in order])
    first_odds = odds * np.concatenate(([1.0], np.cumprod(1 - odds)[:-1]))
    strata = (generator.permutation(FAILING) + generator.random(FAILING)) / FAILING
    first = np.searchsorted(np.cumsum(first_odds) / first_odds.sum(), strata).clip(0, len(odds) - 1)
    fails = generator.random((len(odds), FAILING)) < odds[:, None]
    rows = np.arange(len(odds))[:, None]
    in_order = (fails & (rows > first)) | (rows == first)
    by_position = np.zeros_like(in_order)
    by_position[list(order)] = in_order
    return np.asarray(by_position)


class _Runs:
    """Sampled runs, one per column; arrays run over columns, dictionaries over step positions."""

    def __init__(
        self,
        plan: Plan,
        problem: Problem,
        order: Sequence[int],
        laws: Sequence[StepLaw],
        *,
        fails: Bools,
        generator: np.random.Generator,
    ) -> None:
        self.problem, self.order, self.fails = problem, order, fails.copy()
        self.columns = fails.shape[1]
        repeats = -(-self.columns // COLUMNS)
        self.undo_s = np.tile(problem.undo_samples, (1, repeats))[:, : self.columns]
        self.lives: dict[int, Lives] = {}
        self.start: dict[int, Floats] = {}
        self.over: dict[int, Floats] = {}  # when the step's own life ends
        self.settled: dict[int, Floats] = {}  # when the plan goes on past it; infinite when it never does
        self.together: dict[int, Bools] = {}
        for step_plan, i in zip(plan.steps, order, strict=True):
            if problem.steps[i].optional:
                strata = (generator.permutation(self.columns) + generator.random(self.columns)) / self.columns
                self.fails[i] = strata >= laws[i].success
            chain = Chain(problem.steps[i], step_plan, problem.forecast.steps[step_plan.name])
            lives = self.lives[i] = chain.draw(~self.fails[i], generator)
            before = [self.settled[problem.structure.position[name]] for name in step_plan.after]
            start = self.start[i] = np.max(before, axis=0) if before else np.zeros(self.columns)
            self.over[i] = start + self._until_over(i, lives)
            stops = self.fails[i] & (not problem.steps[i].optional)
            self.settled[i] = np.where(stops, np.inf, self.over[i])
            self.together[i] = np.array(parallel_flags(step_plan.on_failure))[lives.final_class]
        self._turn_back()
        self._settle_attempts()
        self._undo()

    def _until_over(self, i: int, lives: Lives) -> Floats:
        """Seconds of the step's life, the undo of a step that is left out included."""
        if not self.problem.steps[i].optional:
            return lives.seconds
        stray = self.fails[i] & lives.at_end().tainted & self.problem.structure.undoable[i]
        return np.asarray(lives.seconds + np.where(stray, self.undo_s[i], 0.0))

    def _moment(self, i: int) -> Moment:
        """Where step i stands when the run turns back or ends; an uncertain pivot is asked to the end."""
        lives = self.lives[i]
        begins = np.isfinite(self.start[i])
        since = np.where(begins, self.back_at - np.where(begins, self.start[i], 0.0), -1.0)
        moment = lives.at(since)
        if i != self.problem.structure.pivot:
            return moment
        return lives.at(np.where(moment.begun & moment.tainted, np.inf, since))

    def _turn_back(self) -> None:
        """When, and because of which step, each run turns back; infinite when it does not."""
        problem, pivot = self.problem, self.problem.structure.pivot
        committed = self.settled[pivot] if pivot >= 0 else np.full(self.columns, np.inf)
        self.back_at = np.full(self.columns, np.inf)
        self.cause = np.full(self.columns, NOBODY)
        self.side_by_side = np.ones(self.columns, dtype=bool)
        stuck = np.zeros(self.columns, dtype=bool)
        for i in self.order:
            if problem.steps[i].optional:
                continue
            fails_at = np.where(self.fails[i], self.over[i], np.inf)
            unsure = self.lives[i].at_end().tainted if i == pivot else np.zeros(self.columns, dtype=bool)
            stays = np.isfinite(fails_at) & ((fails_at > committed) | unsure)
            stuck |= stays
            first = ~stays & (fails_at < self.back_at)
            self.back_at = np.where(first, fails_at, self.back_at)
            self.cause = np.where(first, i, self.cause)
            self.side_by_side = np.where(first, self.together[i], self.side_by_side)
        self.late = np.zeros(self.columns, dtype=bool)
        if problem.saga.deadline_s is not None:
            self._note_deadline(problem.saga.deadline_s, committed)
        self.attention = np.zeros(self.columns, dtype=bool)
        if pivot >= 0:
            self._ask_pivot(pivot)
        self.attention |= stuck & ~np.isfinite(self.back_at)

    def _note_deadline(self, deadline_s: float, committed: Floats) -> None:
        end = np.max([np.where(np.isfinite(over), over, 0.0) for over in self.over.values()], axis=0)
        self.late = (deadline_s < np.minimum(self.back_at, committed)) & (end > deadline_s)
        self.back_at = np.where(self.late, deadline_s, self.back_at)
        self.cause = np.where(self.late, NOBODY, self.cause)
        self.side_by_side |= self.late

    def _ask_pivot(self, pivot: int) -> None:
        """A pivot in flight when the run turns back may still win, or leave its outcome unknown for good."""
        then = self._moment(pivot)
        turned = np.isfinite(self.back_at) & then.begun
        wins = turned & then.won
        self.attention |= (wins & (self.cause != NOBODY)) | (turned & ~then.won & then.tainted)
        self.back_at = np.where(wins, np.inf, self.back_at)
        self.late &= ~wins
        self.cause = np.where(wins, NOBODY, self.cause)

    def _settle_attempts(self) -> None:
        """Money and time until the last attempt in flight has settled, and what then exists."""
        problem = self.problem
        turned = np.isfinite(self.back_at)
        self.money, self.wasted = np.zeros(self.columns), np.zeros(self.columns)
        self.undo_money, self.clean = np.zeros(self.columns), np.ones(self.columns)
        self.seconds = np.where(turned, self.back_at, 0.0)
        self.present = np.zeros((len(self.order), self.columns), dtype=bool)
        self.attempts: dict[int, Ints] = {}
        for i in self.order:
            step, undo = problem.steps[i], problem.undos[i]
            then = self._moment(i)
            begun = then.begun
            self.attempts[i] = np.where(begun, then.attempts, 0)
            self.money += self.attempts[i] * step.cost
            self.wasted += begun * (then.attempts - then.won) * step.cost
            ends = np.where(begun, self.start[i], 0.0) + np.where(begun, then.ends, 0.0)
            left_out = step.optional & begun & self.fails[i] & then.over & (ends <= self.back_at)
            stray = left_out & then.tainted & problem.structure.undoable[i]
            self.undo_money += stray * undo.money
            self.clean *= np.where(stray, 1 - undo.failure, 1.0)
            self.seconds = np.maximum(self.seconds, ends + np.where(stray, self.undo_s[i], 0.0))
            self.present[i] = turned & begun & (then.won | then.tainted) & ~left_out

    def _undo(self) -> None:
        """Money and time of the undos of what is present."""
        problem = self.problem
        self.present &= ~self.attention
        one_by_one, paths = np.zeros(self.columns), np.zeros((len(self.order), self.columns))
        for i, undo in enumerate(problem.undos):
            here = self.present[i]
            for b in problem.structure.before_lists[i]:
                np.maximum(paths[i], paths[b], out=paths[i])
            if problem.structure.stands[i]:
                self.clean *= ~here
            if not problem.structure.undoable[i]:
                continue
            paths[i] += here * self.undo_s[i]
            one_by_one += here * undo.seconds
            self.undo_money += here * undo.money
            self.clean *= np.where(here, 1 - undo.failure, 1.0)
            self.wasted += (here & self._moment(i).won) * problem.steps[i].cost
        self.undo_seconds = np.where(self.side_by_side, paths.max(axis=0), one_by_one)


class _Tally:
    """Weighted sums over the sampled runs."""

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem, self.ends = problem, Ends()
        self.variance = 0.0
        self.reach, self.attempts = np.zeros(steps), np.zeros(steps)
        self.caused, self.follows = np.zeros(steps), np.zeros(steps)

    def add(self, runs: _Runs, weight: float) -> None:
        """Adds runs that count `weight` together."""
        problem, ends = self.problem, self.ends

        def mean(values: Floats | Bools | Ints) -> float:
            return weight * float(np.mean(values))

        turned = np.isfinite(runs.back_at)
        completed = np.where(turned | runs.attention, 0.0, runs.clean)
        ends.success += mean(completed)
        compensated = np.where(turned & ~runs.attention, runs.clean, 0.0)
        ends.compensated += mean(compensated)
        ends.attention += mean(1 - completed - compensated)
        ends.deadline += mean(runs.late)
        ends.money += mean(runs.money + runs.undo_money)
        ends.undo_money += mean(runs.undo_money)
        ends.wasted += mean(runs.wasted + runs.undo_money)
        seconds = runs.seconds + np.where(turned, runs.undo_seconds, 0.0)
        ends.seconds += mean(seconds)
        costs = runs.money + runs.undo_money + problem.per_s * seconds + problem.penalty * (1 - completed)
        self.variance += weight**2 * float(np.var(costs)) / runs.columns
        follows = runs.undo_money + problem.per_s * runs.undo_seconds + problem.penalty
        for i in runs.order:
            self.reach[i] += mean(runs.attempts[i] > 0)
            self.attempts[i] += mean(runs.attempts[i])
            self.caused[i] += mean(runs.cause == i)
            self.follows[i] += mean((runs.cause == i) * follows)

    def evaluation(self, plan: Plan, order: Sequence[int], laws: Sequence[StepLaw]) -> Evaluation:
        """The sums as an `Evaluation`.

        What no step's failure explains (forward attempts and their time) is shared out by the attempts' money
        and the busy seconds of the steps.
        """
        problem, ends = self.problem, self.ends
        cost = ends.money + problem.per_s * ends.seconds + problem.penalty * (1 - ends.success)
        busy = {i: self.reach[i] * (laws[i].money + problem.per_s * laws[i].seconds) for i in order}
        whole = sum(busy.values())
        scale = (cost - float(self.follows.sum())) / whole if whole > 0 else 0.0
        steps = tuple(
            StepEvaluation(
                name=problem.saga.names[i],
                start_probability=float(self.reach[i]),
                failure_probability=laws[i].failure,
                cost=float(busy[i] * scale + self.follows[i]),
                seconds=laws[i].seconds,
                attempts=laws[i].attempts,
                rollback_cost=float(self.follows[i] / self.caused[i]) if self.caused[i] > 0 else 0.0,
            )
            for i in order
        )
        worst = worst_path_s(plan, problem, order, laws)
        return finished(ends, problem, steps, worst_s=worst, error=self.variance**0.5)


def worst_path_s(plan: Plan, problem: Problem, order: Sequence[int], laws: Sequence[StepLaw]) -> float:
    """The longest forward run along the plan's dependencies, in seconds."""
    ends: dict[str, float] = {}
    for step_plan, i in zip(plan.steps, order, strict=True):
        begins = max((ends[name] for name in step_plan.after), default=0.0)
        ends[step_plan.name] = begins + worst_step_s(problem, i, laws[i])
    return max(ends.values(), default=0.0)
