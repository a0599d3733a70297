"""Timeouts and attempts under a deadline: fast, exact and brute force."""

import itertools
import random

import numpy as np
import pytest

from sagacity_optimizer import cpsat, knapsack
from sagacity_optimizer.knapsack import Link


def links_of(generator: random.Random, positions: int, options: int) -> list[Link]:
    """Random positions whose options trade seconds for a better chance."""
    links = []
    for _ in range(positions):
        weight = np.array([generator.uniform(1, 30) for _ in range(options)])
        go = np.clip(0.5 + weight / 60 - np.array([generator.uniform(0, 0.2) for _ in range(options)]), 0, 1)
        cost = np.array([generator.uniform(0, 5) for _ in range(options)]) + 40 * (1 - go)
        links.append(Link(cost, go, weight))
    return links


def brute(links: list[Link], budget_s: float) -> float:
    """The least value of all choices that fit; infinite when none does."""
    best = float("inf")
    for picks in itertools.product(*(range(len(link.cost)) for link in links)):
        if knapsack.weight_s(links, picks) <= budget_s:
            best = min(best, knapsack.value_of(links, picks))
    return best


def test_without_a_budget_the_backward_pass_is_brute_force() -> None:
    """Without a budget the choice has the least value of all choices, but for what is left as it was."""
    generator = random.Random(1)
    for _ in range(60):
        links = links_of(generator, 4, 4)
        best, value = brute(links, 1e9), knapsack.value_of(links, knapsack.modest(links))
        assert best - 1e-9 <= value <= best * (1 + knapsack.NEAR) ** len(links)


def test_the_grid_is_within_its_stated_error_and_always_fits() -> None:
    """The fast choice fits, and is at least as good as the optimum of a budget one tick per step smaller."""
    generator = random.Random(2)
    tested = 0
    for _ in range(120):
        links = links_of(generator, 4, 4)
        budget_s = generator.uniform(20, 90)
        picks = knapsack.choose(links, budget_s)
        best = brute(links, budget_s)
        if picks is None:
            reduced = budget_s * (1 - len(links) / knapsack.TICKS)
            assert brute(links, reduced) == float("inf")
            continue
        tested += 1
        value = knapsack.value_of(links, picks)
        assert knapsack.weight_s(links, picks) <= budget_s + 1e-9
        reduced = brute(links, budget_s * (1 - len(links) / knapsack.TICKS))
        assert best - 1e-9 <= value <= reduced * (1 + knapsack.NEAR) ** len(links) + 1e-9
    assert tested > 80


def test_cp_sat_is_brute_force() -> None:
    """The exact solver finds the optimum, up to its stated rounding, and never more than the fast one."""
    generator = random.Random(3)
    for _ in range(25):
        links = links_of(generator, 4, 4)
        budget_s = generator.uniform(25, 80)
        best, picks = brute(links, budget_s), cpsat.choose(links, budget_s)
        if picks is None:
            assert best == float("inf")
            continue
        assert knapsack.weight_s(links, picks) <= budget_s + 1e-9
        top = max(high for _, high in knapsack.value_ranges(links)) + 45
        near = best * (1 + knapsack.NEAR) ** len(links)
        assert best - 1e-9 <= knapsack.value_of(links, picks) <= near + 2e-6 * top * len(links)
        fast = knapsack.choose(links, budget_s)
        assert fast is None or knapsack.value_of(links, picks) <= knapsack.value_of(links, fast) + 1e-12


def test_what_cannot_fit_is_said() -> None:
    """A budget below the lightest choice has no answer from either solver."""
    links = links_of(random.Random(4), 3, 3)
    too_little = sum(float(link.weight_s.min()) for link in links) * 0.9
    assert knapsack.choose(links, too_little) is None
    assert cpsat.choose(links, too_little) is None


def test_only_beaten_options_are_dropped() -> None:
    """Pruning keeps an optimal choice for every cost to come in the range."""
    generator = random.Random(5)
    for _ in range(60):
        (link,) = links_of(generator, 1, 12)
        kept = knapsack.useful(link, 0.0, 50.0)
        for value in (0.0, 17.0, 50.0):
            for budget_s in (5.0, 12.0, 31.0):
                fits = [o for o in range(12) if link.weight_s[o] <= budget_s]
                if fits:
                    totals = link.cost + link.go * value
                    best = min(totals[o] for o in fits)
                    assert min(totals[o] for o in kept if o in fits) == pytest.approx(best)


def test_next_to_nothing_changes_nothing() -> None:
    """The author's choice stands where the best earns next to nothing; else the lightest near-best wins."""
    close = Link(np.array([1.0001, 1.0, 1.0]), np.zeros(3), np.array([3.0, 2.0, 1.0]))
    apart = Link(np.array([1.1, 1.0, 1.0001]), np.zeros(3), np.array([3.0, 2.0, 1.0]))
    assert knapsack.choose([close, apart], None) == [0, 2]


def test_of_equal_options_the_first_is_taken() -> None:
    """The author's choice is listed first, so nothing is changed for nothing."""
    same = Link(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([2.0, 1.0]))
    assert knapsack.modest([same, same]) == [0, 0]
