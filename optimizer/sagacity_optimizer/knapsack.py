"""One option per step, least expected cost, worst-case seconds within a budget.

Along a fixed order the cost to come is a chain: V_k = min over options o of a_ko + g_ko * V_(k+1), V_n = 0,
with a the cost of the step itself (its failure included) and g its probability to go on. All g are at least
0, so without a budget the backward pass is exact. With one it is a multiple-choice knapsack whose values
multiply along the chain instead of adding up; the recursion then runs over the seconds left, on a grid.
Weights are rounded up to ticks, so the answer always fits, and it is at least as good as the best answer
for the budget less one tick per step: (1 - steps / TICKS) of it. Where no budget binds, choices that would
earn next to nothing are left as the author made them. `cpsat` solves the same problem exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sagacity_optimizer.problem import Floats

TICKS = 400
NEAR = 2e-4
"""What a position may give up of the cost to come, as a share, to leave the author's choice as it is."""
TIE = 1e-12
UNREACHABLE = 1e100
"""The cost to come where nothing fits the seconds left; finite, so that zero times it is zero."""


class Link(NamedTuple):
    """The options of one position: cost of the step itself, probability to go on, worst-case seconds."""

    cost: Floats
    go: Floats
    weight_s: Floats


def choose(links: Sequence[Link], budget_s: float | None) -> list[int] | None:
    """The number of the chosen option per position, or None when nothing fits."""
    picks = modest(links)
    if budget_s is None or weight_s(links, picks) <= budget_s:
        return picks
    if sum(float(link.weight_s.min()) for link in links) > budget_s:
        return None
    return _on_grid(links, budget_s)


def modest(links: Sequence[Link]) -> list[int]:
    """Nearly the best without a budget, and the least change: at each position the first option if it comes
    within `NEAR` of the best there, else the lightest that does."""
    value, picks = 0.0, []
    for link in reversed(links):
        totals = link.cost + link.go * value
        best = totals.min()
        near = np.flatnonzero(totals <= best + NEAR * abs(best))
        pick = 0 if near[0] == 0 else int(near[np.argmin(link.weight_s[near])])
        picks.append(pick)
        value = float(totals[pick])
    return picks[::-1]


def value_of(links: Sequence[Link], picks: Sequence[int]) -> float:
    """The expected cost of a choice."""
    value = 0.0
    for link, pick in zip(reversed(links), reversed(picks), strict=True):
        value = float(link.cost[pick] + link.go[pick] * value)
    return value


def weight_s(links: Sequence[Link], picks: Sequence[int]) -> float:
    """The worst-case seconds of a choice."""
    return sum(float(link.weight_s[pick]) for link, pick in zip(links, picks, strict=True))


def useful(link: Link, value_low: float, value_high: float) -> list[int]:
    """The options that no lighter one beats for any cost to come between the two values.

    Costs are straight lines in the cost to come, so comparing the ends suffices. Options come in order of
    weight; what was kept so far is a staircase, low ends rising and high ends falling, so one bisection tells
    whether a lighter option is at least as good at both ends.
    """
    low, high = link.cost + link.go * value_low, link.cost + link.go * value_high
    order = np.lexsort((np.arange(len(low)), high, low, link.weight_s))
    kept: list[int] = []
    lows: list[float] = []
    highs: list[float] = []
    for o, one, two in zip(order.tolist(), low[order].tolist(), high[order].tolist(), strict=True):
        place = bisect_right(lows, one)
        if place and highs[place - 1] <= two:
            continue
        kept.append(o)
        end = place
        while end < len(highs) and highs[end] >= two:
            end += 1
        lows[place:end], highs[place:end] = [one], [two]
    return sorted(kept)


def value_ranges(links: Sequence[Link]) -> list[tuple[float, float]]:
    """Per position, bounds of the cost to come after it over all choices."""
    low = high = 0.0
    ranges = []
    for link in reversed(links):
        ranges.append((low, high))
        low, high = float((link.cost + link.go * low).min()), float((link.cost + link.go * high).max())
    return ranges[::-1]


def _on_grid(links: Sequence[Link], budget_s: float) -> list[int] | None:
    tick_s = budget_s / TICKS
    value = np.zeros(TICKS + 1)
    tables: list[tuple[list[int], Floats]] = []
    for link, bounds in zip(reversed(links), reversed(value_ranges(links)), strict=True):
        options = useful(link, *bounds)
        left = np.arange(TICKS + 1) - np.array(_ticks(link.weight_s[options], tick_s))[:, None]
        later = np.where(left >= 0, value[np.maximum(left, 0)], UNREACHABLE)
        cost = link.cost[options][:, None] + link.go[options][:, None] * later
        totals = np.where(later < UNREACHABLE, cost, UNREACHABLE)
        tables.append((options, totals))
        value = totals.min(axis=0)
    return _read_back(links, tables[::-1], tick_s) if value[TICKS] < UNREACHABLE else None


def _read_back(links: Sequence[Link], tables: Sequence[tuple[list[int], Floats]], tick_s: float) -> list[int]:
    left, picks = TICKS, []
    for link, (options, totals) in zip(links, tables, strict=True):
        row = _first_best(totals[:, left])
        picks.append(options[row])
        left -= _ticks(link.weight_s[[options[row]]], tick_s)[0]
    return picks


def _ticks(weights_s: Floats, tick_s: float) -> list[int]:
    return [int(x) for x in np.minimum(np.ceil(weights_s / tick_s - 1e-9), TICKS + 1)]


def _first_best(totals: Floats) -> int:
    best = totals.min()
    return int(np.argmax(totals <= best + TIE * (1 + abs(best))))
