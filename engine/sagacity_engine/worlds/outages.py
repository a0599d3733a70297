"""Services that go down and come back: a two-state process in continuous time, hidden from every advisor.

Up and down spells are exponential and independent per service, so the chance of being down follows
P(down at t+h) = share + (P(down at t) - share) * exp(-h (1/up + 1/down)), with `share` the long-run share of
time spent down: the exact prediction step of a filter over this process.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass

from sagacity_engine.worlds.draws import exponential, stream, uniform


@dataclass(frozen=True, slots=True)
class OutageLaw:
    """How often a service is down (`share` of the time) and for how long at a time, on average."""

    share: float
    mean_down_s: float

    @property
    def mean_up_s(self) -> float:
        """Mean time between the end of one outage and the start of the next, in seconds."""
        return self.mean_down_s * (1 - self.share) / self.share

    def predicted(self, probability_down: float, elapsed_s: float) -> float:
        """P(down) `elapsed_s` later, if it is `probability_down` now and nothing is observed in between."""
        if self.share <= 0:
            return 0.0
        rate = 1 / self.mean_up_s + 1 / self.mean_down_s
        return self.share + (probability_down - self.share) * math.exp(-rate * elapsed_s)


class Outages:
    """One service's spells from `begin` for `span_s` seconds, drawn from a seed."""

    def __init__(self, law: OutageLaw, *, seed: int, service: str, begin: float, span_s: float) -> None:
        self.toggles: list[float] = []
        self.down_first = law.share > 0 and uniform(seed, "outage-first", service) < law.share
        if law.share <= 0:
            return
        draw, at, down = stream(seed, "outage", service), begin, self.down_first
        while at < begin + span_s:
            at += exponential(law.mean_down_s if down else law.mean_up_s, draw())
            self.toggles.append(at)
            down = not down

    def down(self, at: float) -> bool:
        """Whether the service is down at time `at`."""
        return self.down_first ^ (bisect_right(self.toggles, at) % 2 == 1)

    def covered_share(self, begin: float, end: float) -> float:
        """The share of [begin, end] during which the service is down."""
        inside = [toggle for toggle in self.toggles if begin < toggle < end]
        edges = [begin, *inside, end]
        spells = itertools.pairwise(edges)
        return sum(late - early for early, late in spells if self.down((early + late) / 2)) / (end - begin)
