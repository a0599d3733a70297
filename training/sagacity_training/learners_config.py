"""What `learn` may be told beside the data. The defaults suit every table; none is tuned to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sagacity_models.step_models import Recipe
from sagacity_models.tabular import RECIPES

FOLDS_MIN: Final = 5
FOLDS_MAX: Final = 50
LEARNED: Final = tuple(recipe for recipe in RECIPES if recipe is not Recipe.BASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """Settings of `learn`. Raises `ValueError` for what cannot be."""

    shares: tuple[float, float, float] = (0.60, 0.72, 0.85)
    """Where the slices for fitting, tuning and calibrating end, as shares of the cases in time order."""
    folds: int = 0
    """0: slices of time. Else rows have no time, and as many folds of cases take turns at judging."""
    recipes: tuple[Recipe, ...] = LEARNED
    """The candidates beside the base rate."""
    rate_levels: tuple[str, ...] = ()
    """Features whose values have rates of their own, from wide to narrow."""
    rate_prior: tuple[float, ...] = ()
    """The rate of each class before anything was seen; empty: all the same."""
    rate_prior_cases: float = 4.0
    confidence_min: float = 0.0
    """Below this probability of the likeliest class, the forecaster abstains."""
    monotone: Mapping[str, int] = field(default_factory=dict)
    """1 where more of a number can only make the event likelier, -1 where less likely; two classes only."""
    linear_strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Inverse penalties that the tuning slice chooses from."""
    rounds_max: int = 300
    class_rows_min: int = 10
    """Rows of a class in the fitting slice, without which it is not told apart; two classes need that."""

    def __post_init__(self) -> None:
        if not 0 < self.shares[0] < self.shares[1] < self.shares[2] < 1:
            raise ValueError(f"shares must rise between 0 and 1, not {self.shares}")
        if self.folds and not FOLDS_MIN <= self.folds <= FOLDS_MAX:
            raise ValueError(f"{self.folds} folds; 0 for slices of time, else {FOLDS_MIN} to {FOLDS_MAX}")
        if strange := [recipe.value for recipe in self.recipes if recipe not in LEARNED]:
            raise ValueError(f"{strange[0]!r} is no candidate of a table's learner")
        if any(sign not in (-1, 1) for sign in self.monotone.values()):
            raise ValueError("a monotone feature has the sign 1 or -1")
