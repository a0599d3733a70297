"""Honest probabilities for more than two classes: one slope and one shift per class, in log space.

p_c -> softmax_c(slope * log p_c + shift_c): temperature scaling (Guo et al. 2017) with a shift per class,
since the mix of classes drifts. A slope of at least 0 never turns a ranking round. Two classes are served by
the maps of `calibration` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any

from sagacity_models.linear import PROBABILITY_MIN


@dataclass(frozen=True, slots=True)
class ClassScaling:
    """`slope` 1 and no `shifts` change nothing. Raises `ValueError` for a slope below 0 or no number."""

    slope: float
    shifts: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(map(isfinite, (self.slope, *self.shifts))) or self.slope < 0:
            raise ValueError("a scaling of classes needs finite numbers and a slope of at least 0")

    def __call__(self, log_probabilities: Sequence[float]) -> list[float]:
        """The honest probabilities of one row, which sum to 1."""
        return softmax(
            [self.slope * told + shift for told, shift in zip(log_probabilities, self.shifts, strict=True)]
        )

    def as_json(self) -> dict[str, Any]:
        """The map as JSON values; `from_json` reads it back."""
        return {"kind": "classes", "slope": self.slope, "shifts": list(self.shifts)}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ClassScaling:
        """The map that `as_json` wrote; raises `ValueError` for anything else."""
        if written["kind"] != "classes":
            raise ValueError(f"{written['kind']!r} does not calibrate more than two classes")
        return cls(float(written["slope"]), tuple(map(float, written["shifts"])))


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities of scores, none below about `PROBABILITY_MIN`; they sum to 1.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    top = max(scores)
    raised = [exp(max(score - top, -700.0)) for score in scores]
    whole = sum(raised)
    kept = [max(each / whole, PROBABILITY_MIN) for each in raised]
    total = sum(kept)
    return [each / total for each in kept]


def log_softmax(scores: Sequence[float]) -> list[float]:
    """The logarithms of the probabilities of scores, without any floor."""
    top = max(scores)
    whole = top + log(sum(exp(max(score - top, -700.0)) for score in scores))
    return [score - whole for score in scores]
