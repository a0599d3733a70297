"""The choices a step has (timeout, attempts, strategies) and what each adds to the cost of a run.

One table per request holds, for every step and choice, the numbers from which any position's cost follows:

    V(S) = base + back * G(S) + apart * T1(S) + together * T2(S) + together_own * T2(S + j) + go * V(S + j)

with G the money of undoing S, T1 the price of its one-at-a-time and T2 of its side-by-side time. After the
pivot nothing is undone and only `base_committed + go * V` is left. The table repeats the closed forms of
`outcomes` for all choices at once with numpy; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sagacity_engine.plan import Plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_optimizer.choices import attempt_choices, strategy_choices, timeout_choices
from sagacity_optimizer.masses import Masses
from sagacity_optimizer.outcomes import Flags, worst_waits_s
from sagacity_optimizer.problem import Floats, Problem

Axes = tuple[tuple[float, ...], tuple[Flags, ...], tuple[int, ...]]
ALL_RETRY: Flags = (True, True, True, True)
Numbers = npt.NDArray[np.intp]
SUCCESS_CUT_MAX = 1e-3
"""How much of a step's probability to succeed a timeout may cost, beside the author's."""


class Choice(NamedTuple):
    """One way to run a step. `retries` says per class whether its failures are retried."""

    timeout_s: float
    attempts: int
    retries: Flags


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The honest choices of one step (see `honest`); the author's is the first.

    `numbers` says where each stands among all: these run over timeouts, then strategies, then attempts.
    """

    timeouts: tuple[float, ...]
    strategies: tuple[Flags, ...]
    attempts: tuple[int, ...]
    numbers: Numbers
    worst_s: Floats
    base: Floats
    base_committed: Floats
    go: Floats
    back: Floats
    apart: Floats
    together: Floats
    together_own: Floats
    present: Floats

    def choice(self, number: int) -> Choice:
        """The choice that the arrays hold at `number`."""
        rest, m = divmod(int(self.numbers[number]), len(self.attempts))
        t, c = divmod(rest, len(self.strategies))
        return Choice(self.timeouts[t], self.attempts[m], self.strategies[c])


@dataclass(frozen=True, slots=True)
class Terms:
    """The same numbers for one choice per step; arrays run over the steps."""

    base: Floats
    base_committed: Floats
    go: Floats
    back: Floats
    apart: Floats
    together: Floats
    together_own: Floats
    undo_money: Floats  # of the step's effect, if it is there
    undo_time_cost: Floats  # the same for its one-at-a-time time


def terms_of(problem: Problem, table: Sequence[StepOptions], picks: Sequence[int]) -> Terms:
    """The terms of every step under the chosen options."""

    def row(field: str) -> Floats:
        return np.array([getattr(options, field)[pick] for options, pick in zip(table, picks, strict=True)])

    present = row("present")
    return Terms(
        base=row("base"),
        base_committed=row("base_committed"),
        go=row("go"),
        back=row("back"),
        apart=row("apart"),
        together=row("together"),
        together_own=row("together_own"),
        undo_money=present * np.array([undo.money for undo in problem.undos]),
        undo_time_cost=present * problem.per_s * np.array([undo.seconds for undo in problem.undos]),
    )


def option_table(problem: Problem, author: Plan, *, joined: bool) -> tuple[StepOptions, ...]:
    """The choices of every step inside the owner's freedoms. `joined`: retried classes undo side by side."""
    freedom = problem.saga.freedom
    combos = tuple(strategy_choices(problem)) if freedom.compensation else (ALL_RETRY,)
    plans = author.by_name
    timeouts = [timeout_choices(step, problem, plans[step.name]) for step in problem.steps]
    attempts = [attempt_choices(step, problem, plans[step.name]) for step in problem.steps]
    masses = Masses(problem, timeouts, attempts, combos)
    blocks = [masses.of_step(i) for i in range(len(problem.steps))]
    return tuple(
        _step_options(problem, i, (timeouts[i], combos, attempts[i]), block, joined=joined)
        for i, block in enumerate(blocks)
    )


def honest(success: Floats, axes: Axes) -> Numbers:
    """The choices whose timeout costs next to no success, beside the author's timeout with all else equal.

    Failing early can be cheaper than going on, and a timeout that cuts off replies which would have come is a
    way to fail on purpose. Refusing a run is not for advice to decide, so such timeouts are no choices. A
    shorter timeout remains one where retries make up for what it cuts off.
    """
    block = success.reshape(len(axes[0]), -1)
    kept: Numbers = np.flatnonzero((block >= block[0] - SUCCESS_CUT_MAX).ravel())
    return kept


def _worst_s(step: Step, axes: Axes) -> Floats:
    timeouts, combos, attempts = axes
    waits = _waits_s(step.retry, attempts)
    block = np.multiply.outer(timeouts, np.asarray(attempts, dtype=float)) + waits
    return np.repeat(block[:, None, :], len(combos), axis=1).ravel()


@lru_cache(maxsize=4096)
def _waits_s(retry: RetryPolicy, attempts: tuple[int, ...]) -> Floats:
    return np.array([worst_waits_s(replace(retry, maximum_attempts=m)) for m in attempts])


def _step_options(
    problem: Problem, i: int, axes: Axes, every: dict[str, Floats], *, joined: bool
) -> StepOptions:
    step, undo, penalty = problem.steps[i], problem.undos[i], problem.penalty
    numbers = honest(every["success"], axes)
    masses = {name: mass[numbers] for name, mass in every.items()}
    kept_clean, kept_tainted = masses["kept_clean"], masses["kept_tainted"]
    cut_clean, cut_tainted = masses["cut_clean"], masses["cut_tainted"]
    tainted = kept_tainted + cut_tainted
    forward = masses["tries"] * step.cost + problem.per_s * masses["seconds"]
    worst_s = _worst_s(step, axes)[numbers]
    zero = np.zeros_like(forward)
    if step.optional:
        # A failed undo of a skipped step needs attention at the end of a run that would have completed.
        forward = forward + tainted * (undo.money + problem.per_s * undo.seconds + undo.failure * penalty)
        return StepOptions(
            *axes, numbers, worst_s + undo.worst_s, forward, forward, 1 + zero, zero, zero, zero, zero,
            present=masses["success"],
        )  # fmt: skip
    stop = kept_clean + cut_clean + tainted
    forward = forward + stop * penalty
    # An uncertain pivot undoes nothing, but a person must then settle what a failed one would have undone.
    # It is priced like that: else a lost reply would look like a bargain beside an honest refusal.
    kept = kept_clean + kept_tainted
    own_apart = zero if joined else kept_tainted
    return StepOptions(
        *axes,
        numbers=numbers,
        worst_s=worst_s,
        base=forward + tainted * undo.money + own_apart * (problem.per_s * undo.seconds),
        base_committed=forward,
        go=1 - stop,
        back=kept_clean + cut_clean + tainted,
        apart=zero if joined else kept,
        together=cut_clean + kept_clean if joined else cut_clean,
        together_own=cut_tainted + kept_tainted if joined else cut_tainted,
        present=1 + zero,
    )


class Effects(NamedTuple):
    """What undoing the steps done before one position takes; times already priced."""

    money: float
    one_by_one: float
    side_by_side: float
    side_by_side_own: float  # with the undo of the position's own step
    committed: bool


def effects_along(
    problem: Problem, table: Sequence[StepOptions], picks: Sequence[int], order: Sequence[int]
) -> list[Effects]:
    """What there is to undo at every position of `order` under the current picks."""
    paths = problem.undo_paths if problem.per_s > 0 and problem.saga.freedom.compensation else None
    longest = np.zeros(paths.shape[1]) if paths is not None else None
    money = time = before = 0.0
    committed, effects = False, []
    for i in order:
        after = before
        if longest is not None and paths is not None:
            longest = np.maximum(longest, paths[i])
            after = problem.per_s * float(longest.mean())
        effects.append(Effects(money, time, before, after, committed))
        present = float(table[i].present[picks[i]])
        money += present * problem.undos[i].money
        time += present * problem.per_s * problem.undos[i].seconds
        before, committed = after, committed or i == problem.structure.pivot
    return effects


def cost_at(options: StepOptions, effects: Effects) -> Floats:
    """The cost of every choice of a step at a position, without what comes after it."""
    if effects.committed:
        return options.base_committed
    return np.asarray(
        options.base
        + options.back * effects.money
        + options.apart * effects.one_by_one
        + options.together * effects.side_by_side
        + options.together_own * effects.side_by_side_own
    )
