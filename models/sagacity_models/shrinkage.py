"""Honest rates from few cases: drawn towards the pooled rate, the more so the fewer cases there are.

Steps differ, but not arbitrarily: their rates scatter around a pooled rate with some spread. The spread is
estimated from the steps themselves (method of moments of the beta-binomial, Kleinman 1973) and says how many
cases the pooled rate is worth. With one step, or without visible spread, it is worth the stated default or
the most allowed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

STRENGTH_DEFAULT: Final = 20.0
STRENGTH_MIN: Final = 2.0
STRENGTH_MAX: Final = 1_000.0

Key = TypeVar("Key", bound=Hashable)


def shrunk(events: float, cases: float, towards: float, strength: float) -> float:
    """The rate of `events` in `cases`, as if `strength` more cases had shown the rate `towards`.

    >>> shrunk(0, 0, 0.1, 20), shrunk(5, 20, 0.1, 20)
    (0.1, 0.175)
    """
    return (events + strength * towards) / (cases + strength)


def strength_of(counts: Sequence[tuple[int, int]]) -> float:
    """How many cases the pooled rate is worth, from (events, cases) of each group."""
    groups = [(events, cases) for events, cases in counts if cases > 0]
    total = sum(cases for _, cases in groups)
    if len(groups) < 3 or total == 0:
        return STRENGTH_DEFAULT
    mean = sum(events for events, _ in groups) / total
    noise = mean * (1 - mean)
    if noise <= 0:
        return STRENGTH_DEFAULT
    scatter = sum(cases * (events / cases - mean) ** 2 for events, cases in groups)
    spare = total - sum(cases**2 for _, cases in groups) / total
    variance = (scatter - (len(groups) - 1) * noise) / spare if spare > 0 else 0.0
    if variance <= 0:
        return STRENGTH_MAX
    return min(max(noise / variance - 1, STRENGTH_MIN), STRENGTH_MAX)


def shrunk_shares(
    counts: Mapping[Key, float], towards: Mapping[Key, float], strength: float
) -> dict[Key, float]:
    """Shares that sum to 1, as `towards` does, drawn towards it with the weight of `strength` cases."""
    total = sum(counts.get(key, 0.0) for key in towards)
    return {key: shrunk(counts.get(key, 0.0), total, share, strength) for key, share in towards.items()}
