"""What was spent of a model's error budget: each look at the same held-out rows makes the next one dearer.

Whoever trains again and again until a bound at 5 % is passed will pass it by chance. So the k-th gating that
looks at some stretch of held-out history has the level

    alpha_k = alpha * 6 / (pi^2 k^2)          (they sum to alpha over k = 1, 2, ...)

where k counts the gatings so far, this one included, whose held-out stretches overlap with this one's. For
every moment of history, the gatings that ever looked at it spend at most `alpha` together: of those, the
j-th had j - 1 of the others before it, so its k is at least j. Data that nobody has looked at refills the
budget by that very rule: once the held-out stretch has moved past an earlier gating's, that one no longer
counts.

Asking the same question again (the same forecasts of the same rows) is no new look: it has the same answer,
at the same level. A gating that compares nothing spends nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

GATINGS_MAX: Final = 10_000
"""The most gatings that are remembered, the latest; k grows by one a look, so the rest would hardly count."""


@dataclass(frozen=True, slots=True)
class Gating:
    """One look: the held-out stretch (seconds since 1970), what was asked, and at which level."""

    begin: float
    end: float
    question: str
    number: int
    level: float

    def overlaps(self, begin: float, end: float) -> bool:
        """Whether both stretches have a moment in common."""
        return self.begin <= end and begin <= self.end


@dataclass(frozen=True, slots=True)
class Ledger:
    """The gatings of one model name, in the order they were done."""

    gatings: tuple[Gating, ...] = ()

    def look(self, begin: float, end: float, question: str, alpha: float) -> tuple[Gating, Ledger]:
        """The gating that asks `question` of this stretch, and the ledger after it."""
        for known in self.gatings:
            if (known.question, known.begin, known.end) == (question, begin, end):
                return known, self
        number = 1 + sum(known.overlaps(begin, end) for known in self.gatings)
        gating = Gating(begin, end, question, number, alpha_of(number, alpha))
        return gating, Ledger((*self.gatings, gating)[-GATINGS_MAX:])

    def as_json(self) -> list[dict[str, Any]]:
        """As JSON values that `from_json` takes back."""
        return [asdict(gating) for gating in self.gatings]

    @classmethod
    def from_json(cls, written: Sequence[Mapping[str, Any]]) -> Ledger:
        """The ledger that `as_json` told; raises `ValueError` where it is none."""
        try:
            return cls(tuple(_gating(each) for each in written))
        except (TypeError, KeyError, AttributeError) as problem:
            raise ValueError(f"no ledger of gatings ({type(problem).__name__}: {problem})") from None


def alpha_of(number: int, alpha: float) -> float:
    """The level of the `number`-th look.

    >>> round(alpha_of(1, 0.05), 4), round(alpha_of(2, 0.05), 4)
    (0.0304, 0.0076)
    """
    return alpha * 6 / (math.pi * number) ** 2


def _gating(written: Mapping[str, Any]) -> Gating:
    begin, end, level = (float(written[name]) for name in ("begin", "end", "level"))
    number = int(written["number"])
    if not (math.isfinite(begin) and math.isfinite(end) and 0 < level < 1 and number >= 1):
        raise ValueError(f"no ledger of gatings: {dict(written)!r} is no gating")
    return Gating(begin, end, str(written["question"]), number, level)
